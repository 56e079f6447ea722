"""The space of a sweep: a product of factors, less what is excluded, plus what is included, each point repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline_queue.model.pipeline import Value
from pipeline_queue.space.exclusion import Exclusion, Pattern
from pipeline_queue.space.factors import Columns, Factor, factor_from_json
from pipeline_queue.space.points import Point, checked_index


@dataclass(frozen=True)
class Product:
    """Members in order: the last factor varies fastest, then the included points; repetitions are neighbours.

    `names` are all declared parameters; those of no factor are in `fixed`. `included` has a column for every name.
    """

    names: tuple[str, ...]
    fixed: Mapping[str, Value]
    factors: tuple[Factor, ...] = ()
    excluded: tuple[Pattern, ...] = ()
    included: Columns | None = None
    repeat: int = 1
    max_runs: int | None = None

    @cached_property
    def size(self) -> int:
        """What `len` gives, which cannot tell numbers above `sys.maxsize`. Raises TooManyExclusionsError."""
        points = self.kept.count + (self.included.count if self.included else 0)
        every = points * self.repeat
        return every if self.max_runs is None else min(every, self.max_runs)

    @cached_property
    def kept(self) -> Exclusion:
        """The product's members that are not excluded."""
        return Exclusion(tuple(factor.count for factor in self.factors), self.excluded)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Point:
        number = checked_index(index, self.size) // self.repeat
        point = dict(self._blank)
        if number >= self.kept.count and self.included:
            point.update(self.included[number - self.kept.count])
            return point
        for factor, position in zip(self.factors, self.kept[number], strict=True):
            point.update(factor[position])
        return point

    def repeat_of(self, index: int) -> int:
        return checked_index(index, self.size) % self.repeat

    @cached_property
    def varied(self) -> tuple[str, ...]:
        varied = {name for factor in self.factors for name in factor.varied}
        first = {**self.fixed, **{name: value for factor in self.factors for name, value in factor[0].items()}}
        if self.included:
            added = self.included[0]
            varied |= {*self.included.varied, *(name for name in self.names if added[name] != first[name])}
        return tuple(name for name in self.names if name in varied)

    def as_json(self) -> dict[str, Any]:
        return {
            "v": 1,
            "kind": "product",
            "parameters": list(self.names),
            "fixed": dict(self.fixed),
            "factors": [factor.as_json() for factor in self.factors],
            "exclude": [[_as_lists(ranges) for ranges in pattern] for pattern in self.excluded],
            "include": self.included.as_json() if self.included else None,
            "repeat": self.repeat,
            "max_runs": self.max_runs,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Product:
        """Raises KeyError, TypeError or ValueError for what `as_json` never wrote."""
        included = factor_from_json(data["include"]) if data["include"] else None
        if included is not None and not isinstance(included, Columns):
            raise ValueError("included points are columns")
        return cls(
            names=tuple(data["parameters"]),
            fixed=data["fixed"],
            factors=tuple(factor_from_json(factor) for factor in data["factors"]),
            excluded=tuple(tuple(_as_tuples(ranges) for ranges in pattern) for pattern in data["exclude"]),
            included=included,
            repeat=data["repeat"],
            max_runs=data["max_runs"],
        )

    @cached_property
    def _blank(self) -> Point:
        """Every name in declared order, with the fixed values in place."""
        return {name: self.fixed.get(name, False) for name in self.names}


def _as_lists(ranges: tuple[tuple[int, int], ...] | None) -> list[list[int]] | None:
    return None if ranges is None else [list(stretch) for stretch in ranges]


def _as_tuples(ranges: list[list[int]] | None) -> tuple[tuple[int, int], ...] | None:
    return None if ranges is None else tuple((start, stop) for start, stop in ranges)
