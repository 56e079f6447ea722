"""Which fault comes when: a pure function of the seed, so that what was seen once can be played again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_JITTER = 0.3


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """`second` counts from the submission; `target` is a machine, or empty."""

    second: float
    kind: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.second:8.2f} s  {self.kind} {self.target}".rstrip()


Schedule = tuple[Fault, ...]


def single(seed: int, kinds: Sequence[str], targets: Sequence[str], every_seconds: float, count: int) -> Schedule:
    """Faults about `every_seconds`, the kinds in turn, each at any target."""
    chance = random.Random(seed)
    moments = _moments(chance, every_seconds, count)
    return tuple(
        Fault(second, kinds[number % len(kinds)], chance.choice(targets)) for number, second in enumerate(moments)
    )


def lasting(
    seed: int,
    kinds: tuple[str, str],
    targets: Sequence[str],
    every_seconds: float,
    seconds: float,
    count: int,
    at_once: int | None = None,
) -> Schedule:
    """Faults that begin (the first kind) and are undone `seconds` later (the second); a target has one at a time.

    No more than `at_once` targets are broken at the same time, or all of them if None: the others take over.
    """
    chance = random.Random(seed)
    begin, end = kinds
    free_at = dict.fromkeys(targets, 0.0)
    ways = [0.0] * (at_once or len(targets))
    faults: list[Fault] = []
    for moment in _moments(chance, every_seconds, count):
        target = chance.choice(targets)
        way = min(range(len(ways)), key=ways.__getitem__)
        second = round(max(moment, free_at[target], ways[way]), 2)
        free_at[target] = ways[way] = second + seconds + every_seconds
        faults += [Fault(second, begin, target), Fault(round(second + seconds, 2), end, target)]
    return tuple(sorted(faults))


def merged(*schedules: Iterable[Fault]) -> Schedule:
    return tuple(sorted(fault for schedule in schedules for fault in schedule))


def _moments(chance: random.Random, every_seconds: float, count: int) -> list[float]:
    moments, second = [], 0.0
    for _ in range(count):
        second += every_seconds * chance.uniform(1 - _JITTER, 1 + _JITTER)
        moments.append(round(second, 2))
    return moments
