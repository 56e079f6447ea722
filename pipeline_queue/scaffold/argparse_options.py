"""From the registrations of argparse's and optparse's parsers to arguments."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

from pipeline_queue.model.pipeline import ParameterType
from pipeline_queue.scaffold.arguments import NO_DEFAULT, Argument, CommandLine
from pipeline_queue.scaffold.constants import UNKNOWN, is_known
from pipeline_queue.scaffold.parsers import Exclusive, Parser, Registration
from pipeline_queue.scaffold.script_values import External, Function, ScriptClass
from pipeline_queue.scaffold.values import fitting, text_in_script, type_of, with_choices, with_default

_NO_VALUE = ("store_const", "append_const", "count")
_ENDS = ("help", "version")
_TYPES: dict[str, ParameterType] = {"float": "float", "int": "int", "long": "int", "str": "string", "string": "string"}
_ANY_TEXT = ("ast.literal_eval", "builtins.eval", "json.loads", "yaml.safe_load")
_READ_BY_SCRIPT = "a function of the script converts its value"


def command_line(parsers: list[Parser], subcommand: str | None) -> CommandLine:
    """What the parsers together take. With subparsers: those of `subcommand`, or of the first that is there."""
    arguments: dict[str, Argument] = {}
    notes: list[str] = []
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    before: tuple[Argument, ...] = ()
    for parser in parsers:
        _add(arguments, parser)
        notes += _notes(parser)
        if parser.subcommands and not words:
            names = tuple(parser.subcommands)
            words = (subcommand if subcommand in names else names[0],) if subcommand else (names[0],)
            before, arguments = tuple(arguments.values()), {}
            _add(arguments, parser.subcommands[words[0]])
            notes += _notes(parser.subcommands[words[0]])
            if parser.subcommands[words[0]].subcommands:
                notes.append(f"'{words[0]}' has subcommands of its own, which are not read")
    return CommandLine(
        library=parsers[0].library,
        arguments=tuple(arguments.values()),
        before=before,
        words=words,
        subcommands=names,
        end_of_options=True,
        notes=tuple(dict.fromkeys(notes)),
    )


def _notes(parser: Parser) -> list[str]:
    notes = []
    if parser.incomplete:
        notes.append("some of its options could not be read from the source: see --help of the script")
    if parser.ignores_command_line:
        notes.append("the script parses its own list instead of its command line, so parameters may not reach it")
    return notes


def _add(arguments: dict[str, Argument], parser: Parser) -> None:
    for registration in parser.registrations:
        argument = read_registration(registration, parser)
        if argument is None:
            parser.incomplete |= not _ends(registration)
        elif argument.name not in arguments or arguments[argument.name].skipped:
            arguments[argument.name] = argument


def _ends(registration: Registration) -> bool:
    return registration.call.keywords.get("action") in _ENDS


def read_registration(registration: Registration, parser: Parser) -> Argument | None:
    """None for what is no argument of a run (`--help`), or whose names are not known."""
    call = registration.call
    words = [one for one in call.arguments if isinstance(one, str)]
    dest = call.keywords.get("dest")
    if not words and isinstance(dest, str) and not call.arguments:
        words = [dest]
    if not words or len(words) != max(1, len(call.arguments)) or call.keywords.get("action") in _ENDS:
        return None
    argument = _named(words, dest)
    if call.keywords.get("help") == External("argparse.SUPPRESS"):
        argument = replace(argument, skipped="hidden: the script's own help does not show it")
    if registration.uncertain:
        argument = replace(argument, skipped="the script adds it only conditionally")
    if not call.complete:
        argument = replace(argument, notes=(*argument.notes, "not all of its settings could be read"))
    argument = _with_action(argument, registration, parser)
    argument = replace(argument, help=_help(call.keywords.get("help"), argument))
    return _in_exclusive_group(argument, registration.exclusive)


def _named(words: list[str], dest: object) -> Argument:
    options = [word for word in words if word[:1] in ("-", "+") and len(word) > 1]
    if not options:
        return Argument(dest if isinstance(dest, str) else words[0], required=True)
    long = next((word for word in options if word.startswith("--")), None)
    option = long or max(options, key=len)
    name = dest if isinstance(dest, str) else option.lstrip("-+").replace("-", "_")
    return Argument(name, option)


def _with_action(argument: Argument, registration: Registration, parser: Parser) -> Argument:
    call = registration.call
    action = call.keywords.get("action", "store")
    said = "default" in call.keywords or argument.name in parser.defaults
    default = parser.defaults.get(argument.name, call.keywords.get("default"))
    if default == External("argparse.SUPPRESS") or default == External("optparse.NO_DEFAULT"):
        said = False
    if action in ("store_true", "store_false"):
        return _switch(argument, action == "store_true", default if said else action == "store_false")
    if isinstance(action, External) and action.name.endswith("BooleanOptionalAction"):
        return _two_sided(argument, call.keywords, default)
    if action in _NO_VALUE:
        why = "it takes no value"
        return replace(argument, skipped=argument.skipped or why, kind="switch", type="bool", on=argument.option)
    if parser.library == "optparse":
        argument = replace(argument, separate=not argument.option.startswith("--"))
    if argument.option and call.keywords.get("required") is True:
        argument = replace(argument, required=True)
    argument = _with_count(argument, call.keywords, said, default)
    if action in ("append", "extend") and not argument.required:
        argument = replace(argument, skipped=argument.skipped or "it may be given several times")
    if not isinstance(action, str):
        argument = replace(argument, notes=(*argument.notes, "the script has a custom action for it"))
    argument = _with_type(argument, call.keywords.get("type", UNKNOWN if "type" in call.keywords else None), default)
    if "choices" in call.keywords:
        argument = with_choices(argument, _choices(call.keywords["choices"]), exact=True)
    if argument.default is not None:
        return argument
    if isinstance(default, str) and argument.type in ("int", "float"):
        default = _read_number(argument.type, default)
    return with_default(argument, default, call.source("default"), said)


def _switch(argument: Argument, adds: bool, default: object) -> Argument:
    """`store_true` (adds) is given for true, `store_false` for false; each only when its default is the other."""
    argument = replace(argument, kind="switch", type="bool")
    default = not adds if default is None else default
    if not isinstance(default, bool) or default is adds:
        return replace(argument, skipped=argument.skipped or "a switch that changes nothing", on=argument.option)
    if adds:
        return replace(argument, default=False, on=argument.option)
    return replace(argument, default=True, off=argument.option)


def _two_sided(argument: Argument, keywords: dict[str, Any], default: object) -> Argument:
    off = f"--no-{argument.option[2:]}"
    argument = replace(argument, kind="switch", type="bool", on=argument.option, off=off)
    if keywords.get("required") is True:
        return replace(argument, required=True)
    if not isinstance(default, bool):
        return replace(argument, skipped=argument.skipped or NO_DEFAULT)
    return replace(argument, default=default)


def _with_count(argument: Argument, keywords: dict[str, Any], said: bool, default: object) -> Argument:
    """What `nargs` says: one value, an optional one, or a list."""
    nargs = keywords.get("nargs")
    if isinstance(nargs, External):
        return replace(argument, skipped="it takes all remaining words", required=False)
    if nargs == "?":
        return replace(argument, required=argument.required and bool(argument.option))
    if nargs == "*":
        return replace(argument, kind="list", required=argument.required and bool(argument.option))
    if nargs == "+":
        return replace(argument, kind="list")
    if isinstance(nargs, int) and not isinstance(nargs, bool):
        return replace(argument, kind="list", count=nargs)
    return argument


def _with_type(argument: Argument, kind: object, default: object) -> Argument:
    """By `type=`; a function of the script's own is known by its name, its annotation and the default."""
    sample = default[0] if isinstance(default, (list, tuple)) and default else default
    if kind is None:
        if type_of(sample) in ("int", "float", "bool") and not argument.required:
            note = (
                f"it has no type, so the script gets text although its default is {sample!r}; add type= to add_argument"
            )
            return replace(argument, skipped=argument.skipped or note, type=type_of(sample) or "string")
        return argument
    if isinstance(kind, str):
        return replace(argument, type=_TYPES.get(kind, "string"))
    if isinstance(kind, External):
        name = kind.name.removeprefix("builtins.")
        if name == "bool":
            return _any_text_is_true(argument, default)
        if name in _TYPES:
            return replace(argument, type=_TYPES[name])
        if kind.name in _ANY_TEXT:
            return argument
        return replace(argument, type="bool" if "bool" in name and isinstance(sample, bool) else "string")
    if isinstance(kind, Function):
        return _by_function(argument, kind, sample)
    if isinstance(kind, ScriptClass):
        return argument
    return replace(argument, type=type_of(sample) or "string", notes=(*argument.notes, _READ_BY_SCRIPT))


def _any_text_is_true(argument: Argument, default: object) -> Argument:
    """`type=bool` calls `bool(text)`, so that only the empty text is false: said, and written so that it works."""
    note = "type=bool makes every text but '' true: better action='store_true' or BooleanOptionalAction"
    argument = replace(argument, choices=("True", ""), notes=(*argument.notes, note))
    if argument.required or not isinstance(default, bool):
        return argument
    return replace(argument, default="True" if default else "")


def _by_function(argument: Argument, function: Function, sample: object) -> Argument:
    node = function.node
    returned = getattr(getattr(node, "returns", None), "id", "")
    named = str(getattr(node, "name", "")).lower()
    kind: ParameterType = _TYPES.get(returned, "string")
    if "bool" in named or returned == "bool" or isinstance(sample, bool):
        kind = "bool"
    elif type_of(sample) in ("int", "float"):
        kind = type_of(sample) or "string"
    elif kind == "string":
        kind = _converted_to(node)
    return replace(argument, type=kind, notes=(*argument.notes, _READ_BY_SCRIPT))


def _converted_to(node: ast.AST) -> ParameterType:
    """What a function turns its only parameter into, if it does so itself: `int(text)`."""
    names = {one.func.id for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
    kinds = {_TYPES[name] for name in names if name in ("int", "float")}
    return kinds.pop() if len(kinds) == 1 else "string"


def _choices(value: Any) -> Any:
    if isinstance(value, ScriptClass) and value.is_enum:
        return [member for member in value.body.names.values() if is_known(member)]
    return value


def _read_number(kind: ParameterType, text: str) -> object:
    """argparse reads a default that is text as if it had been given."""
    read = fitting(kind, text)
    return text if read is None else read


def _help(value: object, argument: Argument) -> str:
    """The help text in one line; `%(default)s` and `%%` as argparse prints them."""
    if not isinstance(value, str):
        return ""
    default = argument.default if argument.default is not None else ""
    text = value.replace("%(default)s", text_in_script(default)).replace("%default", text_in_script(default))
    text = re.sub(r"%\([a-z]+\)[a-z]", "", text).replace("%%", "%")
    # What `%(default)s` was shown in says nothing when it stands empty.
    return re.sub(r"\s*[(\[]\s*(?:default\s*[:=]?)?\s*[)\]]", "", " ".join(text.split()))


def _in_exclusive_group(argument: Argument, group: Exclusive | None) -> Argument:
    if group is None or argument.skipped.startswith(("hidden", "the script adds")):
        return argument
    if group.required and not group.chosen and argument.kind == "value":
        group.chosen = True
        note = "exactly one of its group must be given"
        return replace(argument, required=True, default=None, skipped="", notes=(*argument.notes, note))
    if argument.kind == "switch" and argument.default is not None:
        return argument
    return replace(argument, skipped="at most one of its group may be given", required=False)
