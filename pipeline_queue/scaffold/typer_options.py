"""From the signatures of typer's commands to arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline_queue.scaffold.annotations import read_annotation
from pipeline_queue.scaffold.arguments import NO_DEFAULT, Argument, CommandLine
from pipeline_queue.scaffold.constants import UNKNOWN
from pipeline_queue.scaffold.expressions import read_call
from pipeline_queue.scaffold.interpretation import Interpreter
from pipeline_queue.scaffold.script_values import Call, External, Function, Made, source_text
from pipeline_queue.scaffold.values import with_choices, with_default

_OPTION, _ARGUMENT = External("typer.Option"), External("typer.Argument")
_APP = Made("typer.Typer")


@dataclass(frozen=True)
class Command:
    name: str
    function: Function


@dataclass(frozen=True)
class Apps:
    """The commands of a script; with a callback, a single command has a name of its own too."""

    commands: tuple[Command, ...]
    has_callback: bool = False


def find_commands(interpreter: Interpreter) -> Apps:
    """Those of `typer.run(…)` and `@app.command()`."""
    for name, call in interpreter.calls:
        if name == "typer.run" and call.arguments and isinstance(call.arguments[0], Function):
            return Apps((Command("", call.arguments[0]),))
    found: list[Command] = []
    has_callback = False
    for function in interpreter.functions:
        for decorator in function.node.decorator_list if not isinstance(function.node, ast.Lambda) else ():
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if not isinstance(target, ast.Attribute) or interpreter.evaluate(target.value, function.scope) != _APP:
                continue
            has_callback |= target.attr == "callback"
            if target.attr == "command" and isinstance(decorator, ast.Call):
                found.append(Command(_name(function, read_call(interpreter, decorator, function.scope)), function))
    return Apps(tuple(found), has_callback)


def _name(function: Function, call: Call) -> str:
    given = call.arguments[0] if call.arguments else call.keywords.get("name")
    return given if isinstance(given, str) else str(getattr(function.node, "name", "")).lower().replace("_", "-")


def command_line(interpreter: Interpreter, apps: Apps, subcommand: str | None) -> CommandLine:
    commands = apps.commands
    chosen = next((one for one in commands if one.name == subcommand), commands[0])
    named = len(commands) > 1 or apps.has_callback
    return CommandLine(
        library="typer",
        arguments=tuple(_arguments(interpreter, chosen.function)),
        words=(chosen.name,) if named else (),
        subcommands=tuple(one.name for one in commands) if named else (),
        end_of_options=True,
        notes=("options of the app's callback are not read",) if apps.has_callback else (),
    )


def _arguments(interpreter: Interpreter, function: Function) -> Iterator[Argument]:
    given = function.node.args
    positional = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    for one, default in zip(positional, [*missing, *given.defaults], strict=True):
        yield _read(interpreter, function, one, default)
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _read(interpreter, function, one, default)


def _read(interpreter: Interpreter, function: Function, one: ast.arg, default: ast.expr | None) -> Argument:
    annotated = read_annotation(one.annotation, interpreter, function.scope)
    info = _info(interpreter, function, [*annotated.extras, *([default] if default is not None else [])])
    call, is_option = info if info else (None, default is not None)
    if info is not None and call is not None and call.node is default:
        default = call.node.args[0] if call.node.args else _keyword(call.node, "default")
    required = default is None or (isinstance(default, ast.Constant) and default.value is ...)
    value = interpreter.evaluate(default, function.scope) if default is not None and not required else UNKNOWN
    argument = _named(one.arg, call, is_option)
    argument = replace(argument, type=annotated.type, required=required, help=_help(call))
    if annotated.type == "bool" and is_option:
        return _flag(argument, call, value)
    if annotated.is_list:
        # typer wants the option again before each value; a positional takes them all.
        reason = "it may be given several times" if is_option else ""
        argument = replace(argument, kind="list", skipped=reason, required=required and not is_option)
    if annotated.choices is not None:
        argument = with_choices(argument, annotated.choices)
    if call is not None:
        argument = replace(argument, min=_bound(argument, call, "min"), max=_bound(argument, call, "max"))
    return with_default(argument, value, source_text(default) if default is not None else "", not required)


def _info(interpreter: Interpreter, function: Function, candidates: list[ast.expr]) -> tuple[Call, bool] | None:
    """The `typer.Option(…)` or `typer.Argument(…)`, and whether it is an option."""
    for node in candidates:
        if isinstance(node, ast.Call):
            kind = interpreter.evaluate(node.func, function.scope)
            if kind in (_OPTION, _ARGUMENT):
                return read_call(interpreter, node, function.scope), kind == _OPTION
    return None


def _named(name: str, call: Call | None, is_option: bool) -> Argument:
    if not is_option:
        return Argument(name)
    words = [one for one in call.arguments if isinstance(one, str) and one.startswith("-")] if call else []
    options = [word.split("/")[0] for word in words if not word.startswith("/")]
    long = next((word for word in options if word.startswith("--")), None)
    option = long or (options[0] if options else f"--{name.replace('_', '-')}")
    return Argument(name, option, separate=not option.startswith("--"))


def _flag(argument: Argument, call: Call | None, value: object) -> Argument:
    words = [one for one in call.arguments if isinstance(one, str) and one.startswith("-")] if call else []
    pair = next((word for word in words if "/" in word), "")
    off = pair.partition("/")[2] if words else f"--no-{argument.option[2:]}"
    argument = replace(argument, kind="switch", on=argument.option, off=off)
    if argument.required:
        return argument if off else replace(argument, required=False, default=False)
    if not isinstance(value, bool):
        return replace(argument, skipped=NO_DEFAULT)
    if value and not off:
        return replace(argument, skipped="a switch that changes nothing")
    return replace(argument, default=value)


def _bound(argument: Argument, call: Call, key: str) -> int | float | None:
    value = call.keywords.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or argument.type not in ("int", "float"):
        return None
    if argument.type == "float":
        return float(value)
    return int(value) if float(value).is_integer() else None


def _keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in node.keywords if one.arg == name), None)


def _help(call: Call | None) -> str:
    value = call.keywords.get("help") if call else None
    return " ".join(value.split()) if isinstance(value, str) else ""
