"""Turns what a script declares of an argument (type, default, choices) into what a pipeline's parameter can hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum
from pathlib import PurePath
from typing import Any

from pipeline_queue.contract.wording import counted
from pipeline_queue.model.parameters import BadValueError, from_python
from pipeline_queue.model.pipeline import Parameter, ParameterType, Value
from pipeline_queue.scaffold.arguments import NO_DEFAULT, Argument
from pipeline_queue.scaffold.constants import EnumMember, is_known

MAX_CHOICES = 1_000
MAX_LIST_ITEMS = 100


class Absent(Enum):
    """Where None is a value of its own."""

    NOTHING = 0


NOTHING = Absent.NOTHING


def type_of(value: object) -> ParameterType | None:
    """The type of a Python value, None for one that is no single value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "string" if isinstance(value, (str, PurePath)) else None


def text_in_script(value: object) -> str:
    """What stands for a value on a command line: the value of a member of an enumeration, a path's text."""
    return str(value.value) if isinstance(value, EnumMember) else str(value)


def fitting(kind: ParameterType, value: object) -> Value | None:
    """The value as the declared type has it, or None when it cannot be one."""
    if isinstance(value, (EnumMember, PurePath)) or (kind == "string" and type_of(value) is not None):
        value = text_in_script(value)
    if isinstance(value, float) and kind == "int" and value.is_integer():
        value = int(value)
    try:
        made = from_python(Parameter(name="any", type=kind), value)
    except (BadValueError, OverflowError):
        return None
    # A text with characters that no file of text holds, or one that reads as an expression.
    if isinstance(made, str) and (not made.isprintable() or "${{" in made):
        return None
    return made


def with_default(argument: Argument, default: object, source: str, said: bool) -> Argument:
    """The argument with its default; one that has none and is not required is skipped with the reason.

    `said` is whether the script gives a default at all, `source` its text.
    """
    if argument.required:
        return argument
    if not said or default is None:
        return replace(argument, skipped=argument.skipped or NO_DEFAULT)
    if not is_known(default):
        shown = f" ({source})" if source else ""
        return replace(argument, skipped=argument.skipped or f"the script computes its default{shown}")
    if argument.kind == "list":
        return _with_default_list(argument, default)
    value = fitting(argument.type, default)
    if value is None:
        reason = f"its default {source or default!r} cannot be passed as {_a(argument.type)}"
        return replace(argument, skipped=argument.skipped or reason)
    if not _is_allowed(argument, value):
        return replace(argument, skipped=argument.skipped or f"its default {value!r} is not one of its own choices")
    return replace(argument, default=value)


def _with_default_list(argument: Argument, default: object) -> Argument:
    items = list(default) if isinstance(default, (list, tuple)) else [default]
    values = [fitting(argument.type, item) for item in items]
    if None in values or len(values) > MAX_LIST_ITEMS:
        return replace(argument, skipped=argument.skipped or f"its default {default!r} cannot be passed")
    return replace(argument, default_list=tuple(value for value in values if value is not None))


def with_choices(argument: Argument, choices: object, exact: bool = False) -> Argument:
    """The argument with those choices that its type can hold; numbers without a gap become bounds.

    `exact`: a choice of another type than the argument's is never met, as `choices=["1"]` with `type=int`.
    """
    if isinstance(choices, range) and argument.type == "int" and choices and choices.step == 1:
        return replace(argument, min=choices[0], max=choices[-1])
    if not is_known(choices) or not isinstance(choices, (list, tuple, set, frozenset, dict, range, str)):
        return replace(argument, notes=(*argument.notes, "the script computes its choices"))
    if len(choices) > MAX_CHOICES:
        return replace(argument, notes=(*argument.notes, f"one of {counted(len(choices), 'choice')}"))
    items: Iterable[Any] = sorted(choices, key=str) if isinstance(choices, (set, frozenset)) else choices
    values = dict.fromkeys(fitting(argument.type, item) for item in items if not exact or _is_of(argument.type, item))
    known = tuple(value for value in values if value is not None)
    if not known and not argument.required:
        return replace(argument, skipped=argument.skipped or "none of its choices can be passed")
    return replace(argument, choices=known)


def _is_of(kind: ParameterType, value: object) -> bool:
    own = type_of(value)
    return own is None or own == kind or (own == "int" and kind == "float")


def _is_allowed(argument: Argument, value: Value) -> bool:
    if argument.choices and value not in argument.choices:
        return False
    if isinstance(value, str):
        return True
    return (argument.min is None or value >= argument.min) and (argument.max is None or value <= argument.max)


def _a(kind: ParameterType) -> str:
    return {"int": "an int", "float": "a float", "bool": "true or false", "string": "a text"}[kind]
