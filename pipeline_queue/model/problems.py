"""Collects everything that is wrong with an input, and words it: quoting, lists, did-you-mean."""

from __future__ import annotations

import difflib
import heapq
import posixpath
from collections.abc import Iterable

from pipeline_queue.contract.errors import Place, Problem
from pipeline_queue.contract.wording import counted

# A reader fixes a file from its first problems; and ten thousand did-you-means would take seconds.
MAX_PROBLEMS = 100

_SHOWN_CHARACTERS = 60
_SHOWN_NAMES = 20
_MAX_COMPARED_NAME = 64
_COMPARED_NAMES = 20


class Problems:
    """A growing list of problems; past `MAX_PROBLEMS` it only counts."""

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        self._kept = list(problems)
        self._first_omitted: Place | None = None
        self._omitted_count = 0

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def are_enough(self) -> bool:
        """Whether a further problem would only be counted."""
        return len(self._kept) >= MAX_PROBLEMS

    def add(self, place: Place, message: str, hint: str = "") -> None:
        if not self.are_enough:
            self._kept.append(Problem(place, message, hint))
            return
        self._first_omitted = self._first_omitted or place
        self._omitted_count += 1

    def add_unknown(self, place: Place, message: str, name: str, known: Iterable[str], kind: str) -> None:
        """Add a problem whose hint is the nearest known name, or the list of all of them."""
        self.add(place, message, "" if self.are_enough else suggestion(name, known, kind))

    def in_order_of_place(self) -> tuple[Problem, ...]:
        kept = sorted(self._kept, key=lambda problem: (problem.place.line or 0, problem.place.column or 0))
        return (*kept, *self._omission())

    def as_added(self) -> tuple[Problem, ...]:
        return (*self._kept, *self._omission())

    def _omission(self) -> tuple[Problem, ...]:
        if self._first_omitted is None:
            return ()
        return (
            Problem(self._first_omitted, f"and at least {counted(self._omitted_count, 'more problem')} from here on"),
        )


def quoted(text: str) -> str:
    """The text on one printable line, in quotes, shortened when it is long."""
    if len(text) > _SHOWN_CHARACTERS:
        return f"{text[:_SHOWN_CHARACTERS]!r}… ({counted(len(text), 'character')})"
    return repr(text)


def listed(names: Iterable[str]) -> str:
    """The names with commas, cut after the first few."""
    every = list(names)
    rest = len(every) - _SHOWN_NAMES
    return ", ".join(shown(name) for name in every[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def shown(text: str) -> str:
    """The text as it is when it is short and printable, else in quotes."""
    return text if text.isprintable() and len(text) <= _SHOWN_CHARACTERS else quoted(text)


def suggestion(name: str, known: Iterable[str], kind: str) -> str:
    """A hint for an unknown name: the nearest known one if there is one, and which there are."""
    names = list(known)
    if not names:
        return f"there are no {kind}"
    nearest = near(name, names)
    return (f"did you mean {nearest!r}? " if nearest else "") + f"{kind}: {listed(names)}"


def near(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like this one, or an empty string."""
    if not 0 < len(name) <= _MAX_COMPARED_NAME:
        return ""
    wanted = name.lower()
    by_lower_case = {candidate.lower(): candidate for candidate in reversed(list(known))}
    likely = heapq.nlargest(_COMPARED_NAMES, by_lower_case, key=lambda candidate: _shared_ends(wanted, candidate))
    matches = difflib.get_close_matches(wanted, likely, n=1)
    return by_lower_case[matches[0]] if matches else ""


def _shared_ends(one: str, other: str) -> int:
    """How many characters two words share at their start and end: nearly all, after a slip of the finger."""
    ends = (one, other), (one[::-1], other[::-1])
    return sum(len(posixpath.commonprefix(pair)) for pair in ends)
