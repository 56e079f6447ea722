"""Factors: sequences of partial points that vary together; a sweep is a product of them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pipeline_queue.model.pipeline import Value
from pipeline_queue.space.axes import Axis, Ranges, Values, axis_from_json, is_constant, merged, never_repeats
from pipeline_queue.space.draws import Draw, draw_from_json, random_bits


@dataclass(frozen=True, slots=True)
class Columns:
    """Axes of one length side by side: one axis of a grid, a zip, or the columns of a list of points."""

    axes: Mapping[str, Axis]

    @property
    def count(self) -> int:
        return next(iter(self.axes.values())).count

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.axes)

    @property
    def varied(self) -> tuple[str, ...]:
        """The names that have more than one value."""
        return tuple(name for name, axis in self.axes.items() if not is_constant(axis))

    def __getitem__(self, index: int) -> dict[str, Value]:
        return {name: axis[index] for name, axis in self.axes.items()}

    def matching(self, part: Mapping[str, Value]) -> Ranges:
        """Where all the given names have the given values."""
        every = [self.axes[name].matching(value) for name, value in part.items()]
        return reduce(_common, every, ((0, self.count),))

    def without(self, names: Container[str]) -> Columns | None:
        """What is left of it, rows that are the same now included; None when nothing is."""
        kept = {name: axis for name, axis in self.axes.items() if name not in names}
        return Columns(kept) if kept else None

    def distinct(self) -> Columns:
        """The same without the rows that were there before; looks at every row unless an axis never repeats."""
        if any(never_repeats(axis) for axis in self.axes.values()):
            return self
        columns = [
            axis.values if isinstance(axis, Values) else tuple(axis[index] for index in range(axis.count))
            for axis in self.axes.values()
        ]
        first: dict[tuple[Value, ...], int] = {}
        for index, row in enumerate(zip(*columns, strict=True)):
            first.setdefault(row, index)
        kept = list(first.values())
        if len(kept) == self.count:
            return self
        chosen = (Values(tuple(column[index] for index in kept)) for column in columns)
        return Columns(dict(zip(self.axes, chosen, strict=True)))

    def as_json(self) -> dict[str, Any]:
        return {"columns": {name: axis.as_json() for name, axis in self.axes.items()}}


@dataclass(frozen=True, slots=True)
class Random:
    """`count` partial points drawn at random; each value depends on seed, name and index only."""

    count: int
    seed: int
    draws: Mapping[str, Draw]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.draws)

    @property
    def varied(self) -> tuple[str, ...]:
        """The names that may have more than one value."""
        return self.names if self.count > 1 else ()

    def __getitem__(self, index: int) -> dict[str, Value]:
        return {name: draw.value(random_bits(self.seed, name, index)) for name, draw in self.draws.items()}

    def matching(self, part: Mapping[str, Value]) -> Ranges:
        """Where all the given names have the given values; draws every member."""
        draws = [(name, self.draws[name], value) for name, value in part.items()]
        return merged(
            index
            for index in range(self.count)
            if all(draw.value(random_bits(self.seed, name, index)) == value for name, draw, value in draws)
        )

    def without(self, names: Container[str]) -> Random | None:
        """What is left of it, None when nothing is."""
        kept = {name: draw for name, draw in self.draws.items() if name not in names}
        return Random(self.count, self.seed, kept) if kept else None

    def as_json(self) -> dict[str, Any]:
        draws = {name: draw.as_json() for name, draw in self.draws.items()}
        return {"random": {"count": self.count, "seed": self.seed, "draws": draws}}


Factor = Columns | Random


def factor_from_json(data: dict[str, Any]) -> Factor:
    """Raises KeyError, TypeError or ValueError for what `as_json` never wrote."""
    if "columns" in data:
        return Columns({name: axis_from_json(axis) for name, axis in data["columns"].items()})
    body = data["random"]
    return Random(body["count"], body["seed"], {name: draw_from_json(draw) for name, draw in body["draws"].items()})


def _common(one: Ranges, other: Ranges) -> Ranges:
    """The stretches that are in both."""
    common: list[tuple[int, int]] = []
    at_one = at_other = 0
    while at_one < len(one) and at_other < len(other):
        start = max(one[at_one][0], other[at_other][0])
        stop = min(one[at_one][1], other[at_other][1])
        if start < stop:
            common.append((start, stop))
        if one[at_one][1] < other[at_other][1]:
            at_one += 1
        else:
            at_other += 1
    return tuple(common)
