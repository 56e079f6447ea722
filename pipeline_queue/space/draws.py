"""Draws: what a random value is for given random bits, the same on every machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from pipeline_queue.model.pipeline import Value
from pipeline_queue.space.exact import geometric, over_one_denominator, rounded, within

_BITS = 512
"""So many that a remainder shows no bias even for whole numbers of a hundred digits."""
_PERSON = b"pq-space-1"
"""Part of the hash; another scheme must have another one."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """A float between two, all equally likely, at 12 significant digits."""

    low: float
    high: float

    def value(self, bits: int) -> Value:
        low, high, bottom = over_one_denominator(self.low, self.high)
        exact = ((low << _BITS) + bits * (high - low)) / (bottom << _BITS)
        return within(rounded(exact), self.low, self.high)

    def as_json(self) -> Any:
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A positive number whose logarithm is equally likely anywhere; whole numbers are rounded."""

    low: int | float
    high: int | float

    def value(self, bits: int) -> Value:
        return geometric(self.low, self.high, bits, 1 << _BITS)

    def as_json(self) -> Any:
        return {"loguniform": [self.low, self.high]}


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """A whole number between two, both included."""

    low: int
    high: int

    def value(self, bits: int) -> Value:
        return self.low + (bits * (self.high - self.low + 1) >> _BITS)

    def as_json(self) -> Any:
        return {"int": [self.low, self.high]}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def value(self, bits: int) -> Value:
        return self.values[bits * len(self.values) >> _BITS]

    def as_json(self) -> Any:
        return {"choice": list(self.values)}


Draw = Uniform | LogUniform | WholeNumber | Choice


def random_bits(seed: int, name: str, index: int) -> int:
    """512 bits that depend on nothing but these three."""
    text = f"{seed}\0{name}\0{index}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=_BITS // 8, person=_PERSON).digest(), "big")


def draw_from_json(data: dict[str, Any]) -> Draw:
    """Raises KeyError, TypeError or ValueError for what `as_json` never wrote."""
    ((kind, body),) = data.items()
    if kind == "choice":
        return Choice(tuple(body))
    kinds: dict[str, type[Uniform] | type[LogUniform] | type[WholeNumber]]
    kinds = {"uniform": Uniform, "loguniform": LogUniform, "int": WholeNumber}
    return kinds[kind](*body)
