"""Leaves members out of a product without expanding it.

A pattern says for each factor which of its indexes match (None: all of them). Choosing indexes factor by factor,
all that matters of the choices so far is which patterns they still match: for every such set that can occur the
number of members left is computed once, and a member is found by going down these numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod

from pipeline_queue.space.axes import Ranges

MAX_BOUNDARIES = 500_000
"""Of stretches looked at for all sets of patterns together: about a second."""

Pattern = tuple[Ranges | None, ...]


class TooManyExclusionsError(ValueError):
    """The patterns cut the product into more pieces than can be counted."""


@dataclass(frozen=True)
class Exclusion:
    """The members of a product of these sizes that match none of the patterns, by their index in each factor."""

    sizes: tuple[int, ...]
    patterns: tuple[Pattern, ...]

    @cached_property
    def count(self) -> int:
        """Raises TooManyExclusionsError."""
        return self._tree.members(0, self._every_pattern)

    def __getitem__(self, index: int) -> tuple[int, ...]:
        """Takes 0 <= index < count."""
        alive = self._every_pattern
        chosen: list[int] = []
        for level in range(len(self.sizes)):
            if not alive:
                return (*chosen, *indexes_of(index, self.sizes[level:]))
            node = self._tree.node(level, alive)
            position = bisect_right(node.ends, index)
            stretch = node.stretches[position]
            index -= node.ends[position] - stretch.members
            offset, index = divmod(index, stretch.members_of_each)
            chosen.append(stretch.start + offset)
            alive = stretch.alive
        return tuple(chosen)

    def leaves_out(self, chosen: tuple[int, ...]) -> bool:
        """Whether some pattern matches these indexes."""
        return any(
            all(
                ranges is None or any(start <= index < stop for start, stop in ranges)
                for ranges, index in zip(pattern, chosen, strict=True)
            )
            for pattern in self.patterns
        )

    @property
    def _every_pattern(self) -> int:
        return (1 << len(self.patterns)) - 1

    @cached_property
    def _tree(self) -> _Tree:
        return _Tree(self.sizes, self.patterns)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Indexes of one factor that leave the same patterns alive, and how many members each of them has."""

    start: int
    stop: int
    alive: int
    members_of_each: int

    @property
    def members(self) -> int:
        return (self.stop - self.start) * self.members_of_each


@dataclass(frozen=True, slots=True)
class _Node:
    """The stretches of one factor, and how many members there are up to the end of each."""

    stretches: tuple[_Stretch, ...]
    ends: tuple[int, ...]


class _Tree:
    """Counts members from a factor on, for the sets of patterns that choices before it may have left alive.

    A set of patterns is a bit mask.
    """

    def __init__(self, sizes: tuple[int, ...], patterns: tuple[Pattern, ...]) -> None:
        self._sizes = sizes
        self._patterns = patterns
        self._nodes: dict[tuple[int, int], _Node] = {}
        self._boundaries = 0
        last = [
            max((level for level, ranges in enumerate(pattern) if ranges is not None), default=-1)
            for pattern in patterns
        ]
        # For each level, the patterns that no factor from there on can keep from matching.
        self._matched = [
            sum(1 << number for number, level in enumerate(last) if level < here) for here in range(len(sizes) + 1)
        ]

    def members(self, level: int, alive: int) -> int:
        """How many members are left from this level on."""
        if alive & self._matched[level]:
            return 0
        return self.node(level, alive).ends[-1] if alive else prod(self._sizes[level:])

    def node(self, level: int, alive: int) -> _Node:
        if (level, alive) not in self._nodes:
            stretches = tuple(
                _Stretch(start, stop, still, self.members(level + 1, still))
                for start, stop, still in self._stretches(level, alive)
            )
            self._nodes[level, alive] = _Node(stretches, tuple(accumulate(stretch.members for stretch in stretches)))
        return self._nodes[level, alive]

    def _stretches(self, level: int, alive: int) -> list[tuple[int, int, int]]:
        """The factor's indexes, cut where another set of the alive patterns matches: (start, stop, set)."""
        always, toggles = 0, {0: 0, self._sizes[level]: 0}
        for number in _bits(alive):
            ranges = self._patterns[number][level]
            if ranges is None:
                always |= 1 << number
                continue
            for boundary in (boundary for stretch in ranges for boundary in stretch):
                toggles[boundary] = toggles.get(boundary, 0) ^ (1 << number)
        self._boundaries += len(toggles)
        if self._boundaries > MAX_BOUNDARIES:
            raise TooManyExclusionsError(f"they cut the sweep into more than {MAX_BOUNDARIES:,} pieces")
        matched, stretches = 0, []
        for start, stop in pairwise(sorted(toggles)):
            matched ^= toggles[start]
            stretches.append((start, stop, always | matched))
        return stretches


def indexes_of(index: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The index in each factor of a member of their product; the last factor varies fastest."""
    chosen = []
    for size in reversed(sizes):
        index, rest = divmod(index, size)
        chosen.append(rest)
    return tuple(reversed(chosen))


def _bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set; costs by those, not by the mask's length."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
