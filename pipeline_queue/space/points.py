"""What every space can do, and the space of points that are written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline_queue.model.pipeline import Value

Point = dict[str, Value]


class Space(Protocol):
    """`space[i]` is a point: every declared parameter's final typed value, in declared order.

    `len(space)` and `space[i]` cost O(parameters). Indexes run from 0; any other raises IndexError.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Point: ...
    def repeat_of(self, index: int) -> int:
        """Which repetition of its point this member is, from 0."""
        ...

    @property
    def varied(self) -> tuple[str, ...]:
        """The parameters that may differ between members, in declared order."""
        ...

    def as_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Points:
    """An explicit list of complete points, such as the one point of a single run."""

    points: Sequence[Point]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Point:
        return dict(self.points[checked_index(index, len(self.points))])

    def repeat_of(self, index: int) -> int:
        checked_index(index, len(self.points))
        return 0

    @property
    def varied(self) -> tuple[str, ...]:
        names = self.points[0] if self.points else ()
        return tuple(name for name in names if any(point[name] != self.points[0][name] for point in self.points))

    def as_json(self) -> dict[str, Any]:
        """`{"v": 1, "kind": "points", "points": [{name: value}]}`"""
        return {"v": 1, "kind": "points", "points": list(self.points)}


def checked_index(index: int, size: int) -> int:
    """The index; raises IndexError, also for the negative ones that Python's lists would take."""
    if not 0 <= index < size:
        raise IndexError(f"there is no member {index} among {size}")
    return index
