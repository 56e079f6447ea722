"""The points a sweep covers, as a sequence that is never expanded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.pipeline import Value

Point = dict[str, Value]


class Space(Protocol):
    """`space[i]` is a point: every declared parameter's final typed value, in declared order."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Point: ...
    def as_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Points:
    """An explicit list of points."""

    points: Sequence[Point]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> Point:
        return dict(self.points[index])

    def as_json(self) -> dict[str, Any]:
        """`{"v": 1, "kind": "points", "points": [{name: value}]}`"""
        return {"v": 1, "kind": "points", "points": list(self.points)}


def space_from_json(data: dict[str, Any]) -> Space:
    """Raises StorageError for a kind or version this program does not know."""
    if data.get("v") != 1 or data.get("kind") != "points":
        raise StorageError(
            f"a sweep of kind {data.get('kind')!r}, version {data.get('v')!r} was written by a newer version"
        )
    return Points(tuple(data["points"]))
