"""From click's decorators on the functions of a script to arguments."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import Any

from pipeline_queue.model.pipeline import ParameterType
from pipeline_queue.scaffold.arguments import NO_DEFAULT, Argument, CommandLine
from pipeline_queue.scaffold.constants import UNKNOWN, is_known
from pipeline_queue.scaffold.expressions import read_call
from pipeline_queue.scaffold.interpretation import Interpreter
from pipeline_queue.scaffold.script_values import Call, External, Function, ScriptClass
from pipeline_queue.scaffold.values import type_of, with_choices, with_default

_ENDS = ("help_option", "version_option", "confirmation_option")
_TYPES: dict[str, ParameterType] = {
    "builtins.int": "int",
    "builtins.float": "float",
    "builtins.str": "string",
    "builtins.bool": "bool",
    "click.INT": "int",
    "click.FLOAT": "float",
    "click.STRING": "string",
    "click.BOOL": "bool",
}


@dataclass(frozen=True)
class ClickType:
    """`click.Choice([…])`, `click.IntRange(…)` and their like, as they were called."""

    name: str
    call: Call


@dataclass(frozen=True)
class Command:
    """A function that is a command, with the group it belongs to."""

    name: str
    function: Function
    group: Function | None
    is_group: bool


def makers() -> dict[str, Any]:
    """The types of click, which a follower of the script notes instead of calling."""
    names = ("Choice", "IntRange", "FloatRange", "Path", "File", "Tuple", "DateTime")
    return {f"click.{name}": lambda call, name=name: ClickType(name, call) for name in names}


def find_commands(interpreter: Interpreter) -> list[Command]:
    """The commands of a script in its order."""
    found: list[Command] = []
    for function in interpreter.functions:
        for decorator in function.node.decorator_list if not isinstance(function.node, ast.Lambda) else ():
            command = _command(interpreter, function, decorator)
            if command is not None:
                found.append(command)
                break
    return found


def _command(interpreter: Interpreter, function: Function, decorator: ast.expr) -> Command | None:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    call = read_call(interpreter, decorator, function.scope) if isinstance(decorator, ast.Call) else None
    name = _command_name(function, call)
    if isinstance(target, ast.Attribute) and target.attr in ("command", "group"):
        owner = interpreter.evaluate(target.value, function.scope)
        if isinstance(owner, Function):
            return Command(name, function, owner, target.attr == "group")
    value = interpreter.evaluate(target, function.scope)
    if value in (External("click.command"), External("click.group")):
        return Command(name, function, None, value == External("click.group"))
    return None


def _command_name(function: Function, call: Call | None) -> str:
    given = (call.arguments[0] if call.arguments else call.keywords.get("name")) if call else None
    if isinstance(given, str):
        return given
    name = str(getattr(function.node, "name", "")).lower().replace("_", "-")
    for ending in ("-command", "-cmd", "-group", "-grp"):
        name = name.removesuffix(ending)
    return name


def command_line(interpreter: Interpreter, commands: list[Command], subcommand: str | None) -> CommandLine:
    """What the script takes. With a group: what `subcommand`, or its first one, takes."""
    groups = [one for one in commands if one.is_group and one.group is None]
    plain = [one for one in commands if not one.is_group]
    if not groups:
        started = _started(interpreter, plain)
        return CommandLine(
            "click", _arguments(interpreter, started), end_of_options=True, notes=_others(started, plain)
        )
    group = groups[0]
    members = [one for one in plain if one.group is group.function] or plain
    if not members:
        note = "the commands of its group could not be read from the source"
        return CommandLine("click", before=_arguments(interpreter, group), notes=(note,))
    chosen = next((one for one in members if one.name == subcommand), members[0])
    return CommandLine(
        library="click",
        arguments=_arguments(interpreter, chosen),
        before=_arguments(interpreter, group),
        words=(chosen.name,),
        subcommands=tuple(one.name for one in members),
        end_of_options=True,
    )


def _started(interpreter: Interpreter, commands: list[Command]) -> Command:
    """The command that the script calls; the last one if it calls none."""
    names = [one for one in commands if getattr(one.function.node, "name", "") in interpreter.called_at_top]
    return names[0] if names else commands[-1]


def _others(started: Command, commands: list[Command]) -> tuple[str, ...]:
    others = [one.name for one in commands if one is not started]
    return (f"the script has other commands too: {', '.join(others)}",) if others else ()


def _arguments(interpreter: Interpreter, command: Command) -> tuple[Argument, ...]:
    found: list[Argument] = []
    node = command.function.node
    for decorator in node.decorator_list if not isinstance(node, ast.Lambda) else ():
        if not isinstance(decorator, ast.Call):
            continue
        kind = interpreter.evaluate(decorator.func, command.function.scope)
        if kind in (External("click.option"), External("click.argument")):
            call = read_call(interpreter, decorator, command.function.scope)
            argument = _read(call, kind == External("click.option"))
            found += [argument] if argument is not None else []
    return tuple(found)


def _read(call: Call, is_option: bool) -> Argument | None:
    words = [one for one in call.arguments if isinstance(one, str)]
    if not words or (is_option and not any(word.startswith("-") for word in words)):
        return None
    keywords = call.keywords
    if not is_option:
        argument = Argument(words[0].lower().replace("-", "_"), required=_argument_is_required(keywords))
        return _with_value(argument, call)
    argument, off = _named(words)
    is_flag = keywords.get("is_flag")
    if keywords.get("count") is True or "flag_value" in keywords or keywords.get("is_eager") is True:
        return replace(argument, skipped="it takes no value", kind="switch", type="bool", on=argument.option)
    if (
        off
        or is_flag is True
        or (is_flag is None and isinstance(keywords.get("default"), bool) and "type" not in keywords)
    ):
        return _flag(argument, off, keywords)
    required = keywords.get("required") is True or ("prompt" in keywords and "default" not in keywords)
    argument = replace(argument, required=required, separate=not argument.option.startswith("--"))
    if keywords.get("hidden") is True:
        argument = replace(argument, skipped="hidden: the script's own help does not show it")
    return _with_value(argument, call)


def _argument_is_required(keywords: dict[str, Any]) -> bool:
    if isinstance(keywords.get("required"), bool):
        return bool(keywords["required"])
    return "default" not in keywords and keywords.get("nargs") != -1


def _named(words: list[str]) -> tuple[Argument, str]:
    """The argument, and the word that turns it off: `--shout/--no-shout`."""
    options = [word for word in words if word.startswith("-")]
    name = next((word for word in words if not word.startswith("-")), "")
    pairs = [[part.strip() for part in word.split("/", 1)] for word in options]
    best = max(pairs, key=lambda pair: (pair[0].startswith("--"), len(pair[0])))
    off = best[1] if len(best) > 1 else ""
    return Argument(name or best[0].lstrip("-").replace("-", "_").lower(), best[0]), off


def _flag(argument: Argument, off: str, keywords: dict[str, Any]) -> Argument:
    default = keywords.get("default", False)
    help_text = _help(keywords)
    argument = replace(argument, kind="switch", type="bool", on=argument.option, off=off, help=help_text)
    if not isinstance(default, bool):
        return replace(argument, skipped=NO_DEFAULT)
    if default and not off:
        # What click does when such a flag is given has changed between its versions.
        return replace(argument, skipped="a switch that changes nothing")
    return replace(argument, default=default)


def _with_value(argument: Argument, call: Call) -> Argument:
    keywords = call.keywords
    default = keywords.get("default")
    argument = replace(argument, help=_help(keywords))
    if not call.complete:
        argument = replace(argument, notes=(*argument.notes, "not all of its settings could be read"))
    nargs = keywords.get("nargs")
    if nargs == -1 or (isinstance(nargs, int) and nargs > 1):
        argument = replace(argument, kind="list", count=nargs if nargs > 1 else None)
    argument = _with_type(argument, keywords.get("type"), default)
    if keywords.get("multiple") is True:
        return replace(argument, skipped="it may be given several times", required=False)
    said = "default" in keywords
    return with_default(argument, default, call.source("default"), said)


def _with_type(argument: Argument, kind: object, default: object) -> Argument:
    sample = default[0] if isinstance(default, (list, tuple)) and default else default
    if kind is None:
        return replace(argument, type=type_of(sample) or "string")
    if isinstance(kind, External):
        return replace(argument, type=_TYPES.get(kind.name, "string"))
    if isinstance(kind, ClickType):
        return _with_click_type(argument, kind)
    if isinstance(kind, ScriptClass) or kind is not UNKNOWN:
        return argument
    return replace(argument, type=type_of(sample) or "string", notes=(*argument.notes, "its type could not be read"))


def _with_click_type(argument: Argument, kind: ClickType) -> Argument:
    given = kind.call.arguments
    if kind.name == "Choice":
        choices = given[0] if given else kind.call.keywords.get("choices")
        if isinstance(choices, ScriptClass) and choices.is_enum:
            choices = [name for name, value in choices.body.names.items() if is_known(value) and name[0] != "_"]
        return with_choices(argument, choices)
    if kind.name in ("IntRange", "FloatRange"):
        least = given[0] if given else kind.call.keywords.get("min")
        most = given[1] if len(given) > 1 else kind.call.keywords.get("max")
        argument = replace(argument, type="int" if kind.name == "IntRange" else "float")
        if kind.call.keywords.get("clamp") is True:
            return argument
        return replace(argument, min=_bound(argument, least), max=_bound(argument, most))
    return argument


def _bound(argument: Argument, value: object) -> int | float | None:
    if argument.type == "int":
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _help(keywords: dict[str, Any]) -> str:
    value = keywords.get("help")
    return " ".join(value.split()) if isinstance(value, str) else ""
