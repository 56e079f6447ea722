"""Axes: the values of one parameter in order, computed when asked for.

The ends of a computed axis are ints for an int parameter and floats for a float one, and so are its values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline_queue.model.pipeline import Value
from pipeline_queue.space.exact import geometric, over_one_denominator, rounded, within

Ranges = tuple[tuple[int, int], ...]
"""Stretches of indexes, start included and stop not, in ascending order and apart from each other."""


@dataclass(frozen=True)
class Values:
    """Values written out."""

    values: tuple[Value, ...]

    @property
    def count(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Value:
        return self.values[index]

    def matching(self, value: Value) -> Ranges:
        return merged(self._indexes_of(value))

    def as_json(self) -> Any:
        return list(self.values)

    def _indexes_of(self, value: Value) -> Iterator[int]:
        index = -1
        while True:
            try:
                index = self.values.index(value, index + 1)
            except ValueError:
                return
            yield index


@dataclass(frozen=True)
class Range:
    """`start + i * step`, without any rounding but the last to a float."""

    start: int | float
    step: int | float
    count: int

    def __getitem__(self, index: int) -> int | float:
        start, step, bottom = self._ratios
        top = start + index * step
        return top if isinstance(self.start, int) else top / bottom + 0.0

    def matching(self, value: Value) -> Ranges:
        return _matching(self, value)

    def as_json(self) -> Any:
        return {"range": {"start": self.start, "step": self.step, "count": self.count}}

    @cached_property
    def _ratios(self) -> tuple[int, int, int]:
        return over_one_denominator(self.start, self.step)


@dataclass(frozen=True)
class Linspace:
    """`count` evenly spaced values, both ends included; whole numbers are rounded halves up."""

    first: int | float
    last: int | float
    count: int

    def __getitem__(self, index: int) -> int | float:
        if index in (0, self.count - 1):
            return self.first if index == 0 else self.last
        first, last, bottom = self._ratios
        top, bottom = first * (self.count - 1) + index * (last - first), bottom * (self.count - 1)
        if isinstance(self.first, int):
            return (2 * top + bottom) // (2 * bottom)
        return within(rounded(top / bottom), self.first, self.last)

    def matching(self, value: Value) -> Ranges:
        return _matching(self, value)

    def as_json(self) -> Any:
        return {"linspace": [self.first, self.last, self.count]}

    @cached_property
    def _ratios(self) -> tuple[int, int, int]:
        return over_one_denominator(self.first, self.last)


@dataclass(frozen=True)
class Logspace:
    """`count` values with one quotient between neighbours, both ends included exactly; the ends are positive."""

    first: int | float
    last: int | float
    count: int

    def __getitem__(self, index: int) -> int | float:
        if index in (0, self.count - 1):
            return self.first if index == 0 else self.last
        return geometric(self.first, self.last, index, self.count - 1)

    def matching(self, value: Value) -> Ranges:
        return _matching(self, value)

    def as_json(self) -> Any:
        return {"logspace": [self.first, self.last, self.count]}


Axis = Values | Range | Linspace | Logspace


def never_repeats(axis: Axis) -> bool:
    """Whether the axis is known to have no value twice, without a look at its values."""
    return isinstance(axis, Range) or (
        not isinstance(axis, Values) and isinstance(axis.first, float) and axis.first != axis.last
    )


def is_constant(axis: Axis) -> bool:
    """Whether all values of the axis are the same."""
    return all(value == axis.values[0] for value in axis.values) if isinstance(axis, Values) else axis.count == 1


def axis_from_json(data: Any) -> Axis:
    """Raises KeyError, TypeError or ValueError for what `as_json` never wrote."""
    if isinstance(data, list):
        return Values(tuple(data))
    ((kind, body),) = data.items()
    if kind == "range":
        return Range(body["start"], body["step"], body["count"])
    ends: dict[str, type[Linspace] | type[Logspace]] = {"linspace": Linspace, "logspace": Logspace}
    return ends[kind](*body)


def merged(indexes: Iterable[int]) -> Ranges:
    """Ascending indexes as stretches."""
    ranges: list[tuple[int, int]] = []
    for index in indexes:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def _matching(axis: Range | Linspace | Logspace, value: Value) -> Ranges:
    """Where the value lies: computed axes only rise or only fall, so halving finds it."""
    if isinstance(value, str):
        return ()
    sign = 1 if axis[0] <= axis[axis.count - 1] else -1
    indexes = range(axis.count)
    start = bisect_left(indexes, sign * value, key=lambda index: sign * axis[index])
    stop = bisect_right(indexes, sign * value, lo=start, key=lambda index: sign * axis[index])
    return ((start, stop),) if start < stop else ()
