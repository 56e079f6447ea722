"""Turns text into typed parameter values and back, by the declared type alone.

White space around a number or a boolean is ignored; a string is taken as it is, every byte of it.
A list is written as JSON, its values as single values are; it is held as text (`list_values.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipeline_queue.contract.errors import Place, ValuesError
from pipeline_queue.contract.wording import counted
from pipeline_queue.model.list_values import list_text, members_of, written_members
from pipeline_queue.model.pipeline import Parameter, ParameterType, Pipeline, ScalarType, Value
from pipeline_queue.model.problems import Problems, listed, near, quoted, shown

TYPE_WORDS: dict[str, ScalarType] = {
    "float": "float",
    "number": "float",
    "int": "int",
    "integer": "int",
    "bool": "bool",
    "boolean": "bool",
    "string": "string",
    "str": "string",
}

MAX_INT_DIGITS = 100
MAX_LIST_VALUES = 1_000
MAX_ELEMENT_BYTES = 131_071
"""One argv element or `NAME=value` on Linux (MAX_ARG_STRLEN less its end)."""

_MAX_DIGITS_OF_ARGUMENT = 40
_MAX_FLOAT_CHARACTERS = 1_000
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_INT = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_BOOLS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_A_TYPE = {"float": "a number", "int": "a whole number", "bool": "true or false", "string": "a string"}
_LIST_TYPE = re.compile(r"list(?: of ([a-z]+?)s?|\[([a-z]+)\])")


class BadValueError(ValueError):
    """A value a parameter cannot take; who asked knows the place."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave for a parameter, not looked at yet: text, or a Python value."""

    value: object
    place: Place


class ListText(str):
    """A list that a file holds, as the JSON text of what was written in it: no value for a single text."""

    __slots__ = ()


def type_of_word(word: str) -> ParameterType | None:
    """The type of `float`, `integer`, `list of int`, `list[str]` …; None for what is none."""
    found = _LIST_TYPE.fullmatch(" ".join(word.split()))
    if found is None:
        return TYPE_WORDS.get(word)
    member = TYPE_WORDS.get(found[1] or found[2])
    return _LIST_OF[member] if member else None


def given_on_command_line(name: str, text: str) -> Given:
    """What `-p name=text` gives; a long text is shortened in messages."""
    return Given(text, Place(f"-p {shown(name)}={shown(text)}"))


def read_value(parameter: Parameter, text: str) -> Value:
    """The typed value of a text; raises `BadValueError`. Bounds and choices are `check_bounds`' job."""
    if parameter.is_list:
        return _read_list(parameter, text)
    return _READERS[parameter.type](text)


def from_python(parameter: Parameter, value: object) -> Value:
    """The typed value of a Python value: of the very type, an int for a float, or text for any type."""
    if isinstance(value, list | tuple) and parameter.is_list:
        return _checked_list([from_python(parameter.member, member) for member in _few(value)])
    if isinstance(value, ListText) and not parameter.is_list:
        raise BadValueError(f"a list is not {_A_TYPE[parameter.type]}", f"give {_wanted(parameter)}")
    if isinstance(value, str):
        # A subclass, such as a member of a string enumeration, would print as something else.
        return read_value(parameter, str.__str__(value))
    if isinstance(value, bool):
        if parameter.type == "bool":
            return value
    elif isinstance(value, int) and parameter.type == "int":
        return _checked_int(int(value))
    elif isinstance(value, int | float) and parameter.type == "float":
        return _checked_float(value)
    kind = type(value).__name__
    wanted = "a list" if parameter.is_list else _A_TYPE[parameter.type]
    raise BadValueError(f"a Python {kind} is not {wanted}", f"give {_wanted(parameter)}")


def check_bounds(parameter: Parameter, value: Value) -> None:
    """Raise `BadValueError` when the value, or one of a list, is outside the bounds or not one of the choices."""
    if parameter.is_list:
        for member in members_of(str(value)):
            check_bounds(parameter.member, member)
        return
    if parameter.choices and value not in parameter.choices:
        texts = [text_of(choice) for choice in parameter.choices]
        nearest = near(text_of(value), texts)
        hint = f"did you mean {nearest!r}? " if nearest else ""
        message = f"{quoted(text_of(value))} is not one of the choices"
        raise BadValueError(message, f"{hint}choices: {listed(texts)}")
    if isinstance(value, str):
        return
    if parameter.min is not None and value < parameter.min:
        raise BadValueError(f"{text_of(value)} is below the minimum", f"the minimum is {text_of(parameter.min)}")
    if parameter.max is not None and value > parameter.max:
        raise BadValueError(f"{text_of(value)} is above the maximum", f"the maximum is {text_of(parameter.max)}")


def read_given(parameter: Parameter, given: Given) -> Value:
    """The checked value of what was given; raises `BadValueError`."""
    value = from_python(parameter, given.value)
    check_bounds(parameter, value)
    return value


def text_of(value: Value) -> str:
    """The one canonical text of a value, for display and folders; `argument_of` is what programs receive."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value + 0.0)  # -0.0 + 0.0 is 0.0: equal values must not have two texts
    return str(value)


def argument_of(value: Value) -> str:
    """The text that a program receives: `text_of`, but -1e-05 as -0.00001.

    Before Python 3.14 argparse takes a negative number with an exponent for an option. A number of more than
    40 characters keeps its exponent.
    """
    text = text_of(value)
    if not isinstance(value, float) or "e" not in text:
        return text
    digits = format(Decimal(text), "f")
    digits = digits if "." in digits else f"{digits}.0"
    return digits if len(digits) <= _MAX_DIGITS_OF_ARGUMENT else text


def resolve_values(pipeline: Pipeline, given: Mapping[str, Given], places: Mapping[str, Place]) -> dict[str, Value]:
    """Every parameter's value in declared order: what was given, else the default.

    `places` says where the parameters are declared. Raises `ValuesError` with all problems.
    """
    problems = Problems()
    declared = {parameter.name: parameter for parameter in pipeline.parameters}
    read: dict[str, Value] = {}
    for name, one in given.items():
        if name not in declared:
            message = f"unknown parameter {quoted(name)}"
            problems.add_unknown(one.place, message, name, declared, "declared parameters")
            continue
        try:
            read[name] = read_given(declared[name], one)
        except BadValueError as error:
            problems.add(one.place, f"parameter {name}: {error.message}", error.hint)
    for parameter in pipeline.parameters:
        if parameter.required and parameter.name not in given:
            place = places.get(parameter.name, Place(pipeline.name))
            message = f"the parameter {parameter.name!r} has no default and was given no value"
            problems.add(place, message, f"give one: -p {parameter.name}=…")
    if problems:
        raise ValuesError(problems.as_added())
    return {name: read.get(name, parameter.default) for name, parameter in declared.items()}  # type: ignore[misc]


def _read_list(parameter: Parameter, text: str) -> str:
    members = written_members(text)
    if members is None:
        raise BadValueError(f"{quoted(text)} is not a list", f"give {_wanted(parameter)}")
    return _checked_list([_read_member(parameter, member) for member in _few(members)])


def _read_member(parameter: Parameter, written: object) -> Value:
    if isinstance(written, bool):
        return read_value(parameter.member, str(written).lower())
    if isinstance(written, str):
        return read_value(parameter.member, written)
    kind = "null" if written is None else "an object" if isinstance(written, dict) else "a list"
    raise BadValueError(f"the list holds {kind}", f"give {_wanted(parameter)}")


def _few(members: Sequence[object]) -> Sequence[object]:
    if len(members) > MAX_LIST_VALUES:
        hint = f"at most {MAX_LIST_VALUES:,} are allowed: put them in a file and give its path"
        raise BadValueError(f"a list of {counted(len(members), 'value')} is too long", hint)
    return members


def _checked_list(members: Sequence[Value]) -> str:
    return _read_string(list_text(members))


def _read_float(text: str) -> float:
    number = text.strip(" \t\r\n")
    if len(number) > _MAX_FLOAT_CHARACTERS:
        raise BadValueError(f"a number of {counted(len(number), 'character')} is too long", "round it")
    if not _FLOAT.fullmatch(number):
        raise BadValueError(f"{quoted(text)} is not a number", _float_hint(number))
    value = _checked_float(float(number))
    if _WHOLE.fullmatch(number):
        _refuse_rounded(int(number), value)
    if value == 0 and re.search("[1-9]", re.split("[eE]", number)[0]):
        raise BadValueError(f"{quoted(text)} is too small for a float: it would become 0", "write 0 if you mean 0")
    return value


def _float_hint(number: str) -> str:
    if number.lower().lstrip("+-") in ("nan", "inf", "infinity", ".nan", ".inf"):
        return "NaN and infinities are not allowed; leave the value out or use a finite number"
    if _FLOAT.fullmatch(number.replace("_", "")):
        return f"write {number.replace('_', '')} without underscores"
    if number.count(",") == 1 and _FLOAT.fullmatch(number.replace(",", ".")):
        return f"write {number.replace(',', '.')} with a decimal point"
    return f"give {_wanted('float')}"


def _checked_float(number: int | float) -> float:
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise BadValueError("the number is not finite as a float", "use a number between -1.7e308 and 1.7e308")
    if isinstance(number, int):
        _refuse_rounded(number, value)
    return value + 0.0


def _refuse_rounded(number: int, value: float) -> None:
    """A whole number that a float cannot hold is an identifier, a seed or a time in nanoseconds, not a measure."""
    if int(value) != number:
        hint = f"declare the parameter as an int, or write {value!r} for the nearest float"
        raise BadValueError(
            f"{quoted(str(number))} has more digits than a float can hold: it would become {value!r}", hint
        )


def _read_int(text: str) -> int:
    number = text.strip(" \t\r\n")
    if len(number) > MAX_INT_DIGITS + 1:
        raise BadValueError(f"{quoted(text)} is too long for an int", f"use at most {MAX_INT_DIGITS} digits")
    if not _INT.fullmatch(number):
        raise BadValueError(f"{quoted(text)} is not a whole number", _int_hint(number))
    return _checked_int(int(number))


def _int_hint(number: str) -> str:
    if _INT.fullmatch(number.replace("_", "")):
        return f"write {number.replace('_', '')} without underscores"
    if re.fullmatch(r"[+-]?0[0-9]+", number):
        octal = number.lstrip("+-")
        meant = f", or {int(octal, 8)} if it was octal" if re.fullmatch("[0-7]+", octal) else ""
        return f"write {int(number)} without leading zeros{meant}"
    if _FLOAT.fullmatch(number):
        value = float(number)
        if value.is_integer() and abs(value) < 2**53:
            return f"write {int(value)}"
        return "round it, or declare the parameter as a float"
    return f"give {_wanted('int')}"


def _checked_int(value: int) -> int:
    if abs(value) >= 10**MAX_INT_DIGITS:
        raise BadValueError("the number is too long for an int", f"use at most {MAX_INT_DIGITS} digits")
    return value


def _read_bool(text: str) -> bool:
    value = _BOOLS.get(text.strip(" \t\r\n").lower())
    if value is None:
        raise BadValueError(f"{quoted(text)} is neither true nor false", f"give {_wanted('bool')}")
    return value


def _read_string(text: str) -> str:
    if "\0" in text:
        raise BadValueError("a string cannot hold a NUL character", "it cannot be passed to a program; remove it")
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise BadValueError(f"{quoted(text)} is not valid Unicode text", "give it as UTF-8") from None
    if length > MAX_ELEMENT_BYTES:
        hint = f"at most {MAX_ELEMENT_BYTES:,} bytes fit one argument: put the data in a file and give its path"
        raise BadValueError(f"a string of {counted(length, 'byte')} is too long", hint)
    return text


def _wanted(parameter: Parameter | ScalarType) -> str:
    """What to give; of a list, with an example."""
    if isinstance(parameter, Parameter) and parameter.is_list:
        return f"a JSON list such as {_LIST_EXAMPLES[parameter.type]}"
    return {
        "float": "a decimal number such as 0.01, 5 or 1e-3",
        "int": "decimal digits such as 10 or -3",
        "bool": "true or false (yes, no, on, off, 1 and 0 work too)",
        "string": "a text",
    }[parameter.type if isinstance(parameter, Parameter) else parameter]


_LIST_OF: dict[ScalarType, ParameterType] = {
    "float": "list of float",
    "int": "list of int",
    "bool": "list of bool",
    "string": "list of string",
}
_LIST_EXAMPLES = {
    "list of float": "[0.1, 0.01]",
    "list of int": "[64, 32]",
    "list of bool": "[true, false]",
    "list of string": '["a", "b"]',
}
_READERS: dict[ParameterType, Callable[[str], Value]] = {
    "float": _read_float,
    "int": _read_int,
    "bool": _read_bool,
    "string": _read_string,
}
