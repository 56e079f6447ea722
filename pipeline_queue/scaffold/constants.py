"""Computes expressions of constants within bounds: what a script's defaults and choices are made of."""

from __future__ import annotations

import ast
import math
import operator
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import Any

MAX_ITEMS = 2_000
MAX_CHARACTERS = 10_000
_MAX_BITS = 512
_MAX_EXPONENT = 512


class Unknown:
    """The one value that stands for whatever only running the script would tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class EnumMember:
    """A member of an enumeration of the script."""

    name: str
    value: Any


class NotComputedError(Exception):
    """The expression is not computed: too large, or of operations that are not known here."""


def is_known(value: object) -> bool:
    """Whether a value is plain data through and through."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(is_known, value))
    if isinstance(value, dict):
        return all(is_known(key) and is_known(item) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str, range, PurePath, EnumMember))


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
# Of these the arguments are data and the result is no larger than they are.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"builtins.{one.__name__}": one for one in (abs, bool, dict, float, int, len, list, max, min, range, round)},
    **{f"builtins.{one.__name__}": one for one in (set, frozenset, sorted, str, sum, tuple, reversed, enumerate, zip)},
    "os.path.join": posixpath.join,
    "os.path.basename": posixpath.basename,
    "os.path.dirname": posixpath.dirname,
    "os.path.normpath": posixpath.normpath,
    "pathlib.Path": PurePosixPath,
    "pathlib.PurePath": PurePosixPath,
    "math.sqrt": math.sqrt,
    "math.log": math.log,
    "math.exp": math.exp,
}
_VALUES = {"math.pi": math.pi, "math.e": math.e, "os.sep": "/", "math.inf": math.inf, "math.nan": math.nan}
_METHODS: dict[type, tuple[str, ...]] = {
    str: (
        "lower",
        "upper",
        "title",
        "capitalize",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "join",
        "startswith",
        "endswith",
        "islower",
        "isupper",
        "isdigit",
        "isalpha",
        "isidentifier",
    ),
    dict: ("keys", "values", "items", "get", "copy"),
    list: ("copy", "index", "count"),
    tuple: ("index", "count"),
}
_CHANGES = {list: ("append", "extend", "insert"), dict: ("update", "setdefault"), set: ("add", "update")}
_PLAIN_FORMAT = re.compile(r"[^0-9]*[0-9]{0,2}(?:\.[0-9]{1,2})?[a-zA-Z%]?")
_NARROW_PERCENT = re.compile(r"(?:[^%]|%%|%[sdrfgei]|%\.[0-9][fge])*")
_SIMPLE_BRACES = re.compile(r"(?:[^{}]|\{\{|\}\}|\{[A-Za-z0-9_]{0,32}\})*")
_ERRORS = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError, RecursionError)


def binary(kind: type[ast.operator], left: Any, right: Any) -> Any:
    """The result of an operator on data; raises NotComputedError."""
    _check_size(kind, left, right)
    return _computed(_BINARY.get(kind), left, right)


def unary(kind: type[ast.unaryop], value: Any) -> Any:
    return _computed(_UNARY.get(kind), value)


def compare(kind: type[ast.cmpop], left: Any, right: Any) -> Any:
    return _computed(_COMPARISONS.get(kind), left, right)


def call(name: str, arguments: list[Any], keywords: Mapping[str, Any]) -> Any:
    """The result of a function of Python's own, by its full name; raises NotComputedError."""
    if name not in _FUNCTIONS:
        raise NotComputedError(name)
    if name not in ("builtins.len", "builtins.range"):
        _demand(all(len(one) <= MAX_ITEMS for one in arguments if isinstance(one, range)))
    result = _computed(lambda: _FUNCTIONS[name](*arguments, **keywords))
    if isinstance(result, (enumerate, reversed, zip)):
        return list(result)
    return result


def attribute(name: str) -> Any:
    """A constant of a module of Python's own, or UNKNOWN."""
    return _VALUES.get(name, UNKNOWN)


def method(receiver: Any, name: str, arguments: list[Any], keywords: Mapping[str, Any]) -> Any:
    """The result of a method of data; raises NotComputedError. The lists of the interpreter are changed in place."""
    for kind, names in _CHANGES.items():
        if type(receiver) is kind and name in names and len(receiver) < MAX_ITEMS:
            return _computed(lambda: getattr(receiver, name)(*arguments, **keywords))
    if not is_known(receiver) or not is_known(arguments) or not is_known(dict(keywords)):
        raise NotComputedError(name)
    if isinstance(receiver, str) and name == "format" and _SIMPLE_BRACES.fullmatch(receiver):
        return _computed(lambda: receiver.format(*arguments, **keywords))
    if name not in _METHODS.get(type(receiver), ()):
        raise NotComputedError(name)
    result = _computed(lambda: getattr(receiver, name)(*arguments, **keywords))
    return list(result) if name in ("keys", "values", "items") else result


def formatted(value: Any, conversion: int, spec: str) -> str:
    """One replacement field of an f-string; raises NotComputedError."""
    if not _PLAIN_FORMAT.fullmatch(spec) or isinstance(value, EnumMember):
        raise NotComputedError(spec)
    conversions: dict[int, Callable[[Any], Any]] = {ord("r"): repr, ord("a"): ascii, ord("s"): str}
    shown = conversions[conversion](value) if conversion in conversions else value
    return str(_computed(lambda: format(shown, spec)))


def items_of(value: Any) -> list[Any]:
    """The items of a known iterable; raises NotComputedError."""
    if not isinstance(value, (list, tuple, set, frozenset, dict, range, str)) or len(value) > MAX_ITEMS:
        raise NotComputedError("not a short iterable")
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)


def _check_size(kind: type[ast.operator], left: Any, right: Any) -> None:
    """Raises NotComputedError for what might take all memory."""
    if kind is ast.Mult:
        for sequence, times in ((left, right), (right, left)):
            if isinstance(sequence, (str, list, tuple)) and isinstance(times, int):
                _demand(len(sequence) * times <= MAX_ITEMS)
    elif kind is ast.Pow:
        _demand(all(isinstance(one, (int, float)) and abs(one) <= 2**32 for one in (left, right)))
        _demand(abs(right) <= _MAX_EXPONENT)
    elif kind is ast.LShift:
        _demand(isinstance(right, int) and right <= _MAX_BITS)
    elif kind is ast.Mod and isinstance(left, str):
        _demand(_NARROW_PERCENT.fullmatch(left) is not None)


def _demand(condition: bool) -> None:
    if not condition:
        raise NotComputedError("too large")


def _computed(function: Callable[..., Any] | None, *arguments: Any) -> Any:
    if function is None:
        raise NotComputedError("an unsupported operation")
    try:
        result = function(*arguments)
    except _ERRORS as error:
        raise NotComputedError(str(error)) from error
    if isinstance(result, int) and result.bit_length() > 64 * _MAX_BITS:
        raise NotComputedError("too large")
    if isinstance(result, (str, list, tuple, dict, set)) and len(result) > MAX_CHARACTERS:
        raise NotComputedError("too large")
    return result
