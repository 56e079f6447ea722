"""From the dataclasses that a script gives to transformers' HfArgumentParser to arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipeline_queue.scaffold.annotations import read_annotation
from pipeline_queue.scaffold.arguments import Argument, CommandLine
from pipeline_queue.scaffold.constants import UNKNOWN, is_known
from pipeline_queue.scaffold.expressions import read_call
from pipeline_queue.scaffold.interpretation import Interpreter
from pipeline_queue.scaffold.script_values import Call, External, Function, ScriptClass, source_text
from pipeline_queue.scaffold.values import with_choices, with_default

PARSER = "transformers.HfArgumentParser"
_FIELD = External("dataclasses.field")


def find_calls(interpreter: Interpreter) -> list[Call]:
    return [call for name, call in interpreter.calls if name == PARSER]


def command_line(interpreter: Interpreter, calls: list[Call]) -> CommandLine:
    found: dict[str, Argument] = {}
    notes: list[str] = []
    for call in calls:
        given = call.arguments[0] if call.arguments else call.keywords.get("dataclass_types")
        for one in given if isinstance(given, (list, tuple)) else [given]:
            if isinstance(one, ScriptClass):
                found.update((argument.name, argument) for argument in _fields(interpreter, one))
            elif isinstance(one, External):
                notes.append(f"{one.name} has more options, such as --output_dir; add those that you want to vary")
    return CommandLine("transformers", tuple(found.values()), notes=tuple(dict.fromkeys(notes)))


def _fields(interpreter: Interpreter, one: ScriptClass) -> Iterator[Argument]:
    for base in one.bases:
        if isinstance(base, ScriptClass):
            yield from _fields(interpreter, base)
    for node in one.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield _read(interpreter, one, node, node.target.id)


def _read(interpreter: Interpreter, one: ScriptClass, node: ast.AnnAssign, name: str) -> Argument:
    annotated = read_annotation(node.annotation, interpreter, one.body)
    value, said, help_text, choices = _default(interpreter, one, node)
    argument = Argument(name, f"--{name}", type=annotated.type, required=not said, help=help_text)
    if annotated.is_list:
        argument = replace(argument, kind="list")
    options = annotated.choices if annotated.choices is not None else choices
    if options is not None:
        argument = with_choices(argument, options)
    return with_default(argument, value, source_text(node.value) if node.value is not None else "", said)


def _default(interpreter: Interpreter, one: ScriptClass, node: ast.AnnAssign) -> tuple[Any, bool, str, Any]:
    """Default, whether there is one, help and choices, of `= value` or `= field(default=…, metadata={…})`."""
    if not isinstance(node.value, ast.Call) or interpreter.evaluate(node.value.func, one.body) != _FIELD:
        return interpreter.evaluate(node.value, one.body), node.value is not None, "", None
    call = read_call(interpreter, node.value, one.body)
    metadata = call.keywords.get("metadata")
    data = metadata if isinstance(metadata, dict) else {}
    text = data.get("help")
    help_text = " ".join(text.split()) if isinstance(text, str) else ""
    value, said = call.keywords.get("default", UNKNOWN), "default" in call.keywords
    factory = call.keywords.get("default_factory")
    if isinstance(factory, Function) and isinstance(factory.node, ast.Lambda):
        value, said = interpreter.evaluate(factory.node.body, factory.scope), True
    elif factory is not None:
        value, said = ([] if factory == External("builtins.list") else UNKNOWN), True
    choices = data.get("choices")
    return value, said, help_text, choices if is_known(choices) else None
