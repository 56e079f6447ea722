"""Reads `--where` conditions, `accuracy>=0.9 and optimizer in (sgd, adam)`, into values that rows are held against.

    condition   any ("or" any)…
    any         one ("and" one)…
    one         "not" one | "(" condition ")" | name operator value | name ["not"] "in" "(" value ("," value)… ")"
    operator    =  ==  !=  <  <=  >  >=

Names and values are bare words or quoted texts (a quote inside is doubled). How a value is read is decided by what it
is compared with: a number against a number, a boolean against a boolean, a text against a text. A row without the
name satisfies no comparison, `!=` and `not in` included; `not` turns that round.
"""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.records import Scalar
from pipeline_queue.contract.states import RunState
from pipeline_queue.contract.wording import counted
from pipeline_queue.model.list_values import is_same_list
from pipeline_queue.model.parameters import BadValueError, read_value
from pipeline_queue.model.pipeline import Parameter, ParameterType
from pipeline_queue.model.problems import quoted, suggestion

MAX_CHARACTERS = 10_000
MAX_NESTING = 50

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<sign>==|!=|<=|>=|[=<>(),])"""
    r"""|(?P<word>[^\s'"()=!<>,]+)"""
)
_KEYWORDS = ("and", "or", "not", "in")
_AFTER_A_TRUTH = (("end", ""), ("keyword", "and"), ("keyword", "or"), ("sign", ")"))
_MEANT = {"&&": "and", "&": "and", "||": "or", "|": "or"}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Condition(ABC):
    """A parsed condition."""

    @abstractmethod
    def holds(self, row: Mapping[str, Scalar | None]) -> bool:
        """Whether the row, name -> value, satisfies it; a name that is not there counts as missing."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names that it compares, each once, in their order."""

    @abstractmethod
    def literals(self) -> tuple[tuple[str, str], ...]:
        """Every name with the text of a value that it is compared with."""


def parse(text: str, names: Collection[str] | None, may_stand_alone: bool = False) -> Condition:
    """The condition of a text. `names` are those there are; None where they cannot be known yet: any will do.

    With `may_stand_alone`, a name without a comparison holds when its value is true, not empty and not 0.
    Raises InputError that names the column.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"the condition has {counted(len(text), 'character')}; at most {MAX_CHARACTERS:,} are allowed")
    reader = _Reader(_tokens(text), names, may_stand_alone)
    condition = reader.any_of(0)
    reader.end()
    return condition


@dataclass(frozen=True, slots=True)
class _Literal:
    """A value as it was written, read once as each type that a row's value may have."""

    text: str
    number: int | float | None = field(init=False)
    truth: bool | None = field(init=False)

    def __post_init__(self) -> None:
        whole = _read("int", self.text)
        object.__setattr__(self, "number", _read("float", self.text) if whole is None else whole)
        object.__setattr__(self, "truth", _read("bool", self.text))

    def like(self, value: Scalar) -> Scalar | None:
        """This value as the type of another one; None when it is none of that type."""
        if isinstance(value, bool):
            return self.truth
        if isinstance(value, str):
            return value if is_same_list(self.text, value) else self.text
        return self.number


def _read(kind: ParameterType, text: str) -> Any:
    try:
        return read_value(Parameter(name="value", type=kind), text)
    except BadValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Comparison(Condition):
    name: str
    sign: str
    literal: _Literal

    def holds(self, row: Mapping[str, Scalar | None]) -> bool:
        value = row.get(self.name)
        if value is None:
            return False
        wanted = self.literal.like(value)
        if wanted is None:
            return self.sign == "!="
        return _COMPARE[self.sign](value, wanted)

    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def literals(self) -> tuple[tuple[str, str], ...]:
        return ((self.name, self.literal.text),)


@dataclass(frozen=True, slots=True)
class _Truth(Condition):
    name: str

    def holds(self, row: Mapping[str, Scalar | None]) -> bool:
        return bool(row.get(self.name))

    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def literals(self) -> tuple[tuple[str, str], ...]:
        return ()


@dataclass(frozen=True, slots=True)
class _OneOf(Condition):
    name: str
    values: tuple[_Literal, ...]
    negated: bool

    def holds(self, row: Mapping[str, Scalar | None]) -> bool:
        value = row.get(self.name)
        if value is None:
            return False
        return any(literal.like(value) == value for literal in self.values) != self.negated

    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def literals(self) -> tuple[tuple[str, str], ...]:
        return tuple((self.name, literal.text) for literal in self.values)


@dataclass(frozen=True, slots=True)
class _Not(Condition):
    condition: Condition

    def holds(self, row: Mapping[str, Scalar | None]) -> bool:
        return not self.condition.holds(row)

    def names(self) -> tuple[str, ...]:
        return self.condition.names()

    def literals(self) -> tuple[tuple[str, str], ...]:
        return self.condition.literals()


@dataclass(frozen=True, slots=True)
class _Any(Condition):
    conditions: tuple[Condition, ...]

    def holds(self, row: Mapping[str, Scalar | None]) -> bool:
        return any(condition.holds(row) for condition in self.conditions)

    def names(self) -> tuple[str, ...]:
        return _names_of(self.conditions)

    def literals(self) -> tuple[tuple[str, str], ...]:
        return tuple(literal for condition in self.conditions for literal in condition.literals())


@dataclass(frozen=True, slots=True)
class _All(Condition):
    conditions: tuple[Condition, ...]

    def holds(self, row: Mapping[str, Scalar | None]) -> bool:
        return all(condition.holds(row) for condition in self.conditions)

    def names(self) -> tuple[str, ...]:
        return _names_of(self.conditions)

    def literals(self) -> tuple[tuple[str, str], ...]:
        return tuple(literal for condition in self.conditions for literal in condition.literals())


def _names_of(conditions: Iterable[Condition]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for condition in conditions for name in condition.names()))


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind` is `keyword`, `sign`, `word`, `quoted` or `end`; columns count from 1."""

    kind: str
    text: str
    column: int

    def error(self, message: str, hint: str = "") -> InputError:
        return InputError(f"the condition, column {self.column}: {message}" + (f" ({hint})" if hint else ""))

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else quoted(self.text)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _unreadable(text, position)
        kind, written = str(found.lastgroup), found.group()
        if kind == "quoted":
            written = written[1:-1].replace(written[0] * 2, written[0])
        elif kind == "word" and written.lower() in _KEYWORDS:
            kind, written = "keyword", written.lower()
        if kind != "space":
            tokens.append(_Token(kind, written, position + 1))
        position = found.end()
    return [*tokens, _Token("end", "", len(text) + 1)]


def _unreadable(text: str, position: int) -> InputError:
    token = _Token("sign", text[position], position + 1)
    if token.text == "!":
        return token.error("a lone '!'", "write 'not', or != to compare")
    return token.error(f"the quote {token.text} is not closed", "a quote inside a quoted text is doubled")


class _Reader:
    """A recursive descent over the tokens; each is looked at once."""

    def __init__(self, tokens: list[_Token], names: Collection[str] | None, may_stand_alone: bool) -> None:
        self._tokens = tokens
        self._position = 0
        self._names = names
        self._may_stand_alone = may_stand_alone

    @property
    def _next(self) -> _Token:
        return self._tokens[self._position]

    def _take(self) -> _Token:
        token = self._next
        self._position += token.kind != "end"
        return token

    def _took(self, kind: str, text: str) -> bool:
        found = (self._next.kind, self._next.text) == (kind, text)
        self._position += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._took("sign", sign):
            raise self._next.error(f"expected '{sign}', found {self._next}")

    def end(self) -> None:
        """Raises InputError unless everything has been read."""
        token = self._next
        if token.kind != "end":
            meant = _MEANT.get(token.text)
            hint = f"write {meant!r}" if meant else "join comparisons with 'and' or 'or'; quote texts with spaces"
            raise token.error(f"expected 'and', 'or' or the end, found {token}", hint)

    def any_of(self, depth: int) -> Condition:
        conditions = [self._all_of(depth)]
        while self._took("keyword", "or"):
            conditions.append(self._all_of(depth))
        return _Any(tuple(conditions)) if len(conditions) > 1 else conditions[0]

    def _all_of(self, depth: int) -> Condition:
        conditions = [self._one(depth)]
        while self._took("keyword", "and"):
            conditions.append(self._one(depth))
        return _All(tuple(conditions)) if len(conditions) > 1 else conditions[0]

    def _one(self, depth: int) -> Condition:
        if depth > MAX_NESTING:
            raise self._next.error(f"more than {MAX_NESTING} levels of parentheses and 'not'")
        if self._took("keyword", "not"):
            return _Not(self._one(depth + 1))
        if self._took("sign", "("):
            inner = self.any_of(depth + 1)
            self._expect(")")
            return inner
        return self._comparison(self._name())

    def _name(self) -> str:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            raise token.error(f"expected a name, found {token}", "for example learning_rate>0.01")
        if self._names is not None and token.text not in self._names:
            if token.kind == "word" and _read("float", token.text) is not None:
                raise token.error(f"{token} is not a name", "write the name first: learning_rate>0.01")
            hint = suggestion(token.text, self._names, "names")
            raise token.error(f"unknown parameter or metric {token}", hint)
        return token.text

    def _comparison(self, name: str) -> Condition:
        if self._may_stand_alone and (self._next.kind, self._next.text) in _AFTER_A_TRUTH:
            return _Truth(name)
        negated = self._took("keyword", "not")
        if self._took("keyword", "in"):
            return _OneOf(name, self._values(name), negated)
        sign = self._take()
        if negated or sign.kind != "sign" or sign.text not in _COMPARE:
            raise sign.error(f"expected a comparison after {quoted(name)}, found {sign}", "= != < <= > >= or in (a, b)")
        return _Comparison(name, sign.text, self._value(name))

    def _values(self, name: str) -> tuple[_Literal, ...]:
        self._expect("(")
        values = [self._value(name)]
        while self._took("sign", ","):
            values.append(self._value(name))
        self._expect(")")
        return tuple(values)

    def _value(self, name: str) -> _Literal:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            raise token.error(f"expected a value, found {token}", "quote it if it is a text")
        if name == "state" and token.text not in get_args(RunState):
            hint = suggestion(token.text, get_args(RunState), "states")
            raise token.error(f"unknown state {token}", hint)
        return _Literal(token.text)


__all__ = ["MAX_CHARACTERS", "MAX_NESTING", "Condition", "parse"]
