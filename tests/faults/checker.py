"""Judges a lab: from the witness and the published folders alone, knowing nothing of the product's own records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from tests.faults.pipeline.step import STEPS, file_of, output_of
from tests.faults.sightings import Place, Publication, digest_of
from tests.faults.witness import Execution

_CLOCK_SECONDS = 0.02
"""The kernel stamps files and processes by clocks that tick every few milliseconds."""

ENDING_SECONDS = 0.5
"""A machine that was stopped and goes on needs a moment to end what it may not go on with."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the checker is given. `first` is what was seen when it appeared, `last` what lies there at the end."""

    runs: int
    executions: Sequence[Execution]
    first: Mapping[Place, Publication]
    last: Mapping[Place, Publication]
    orphans: Sequence[str] = ()
    overlap_allowed_seconds: float = ENDING_SECONDS
    ends: Mapping[int, str] = field(default_factory=dict)
    """What the product itself says of the end of runs that have not published everything."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, one sentence each, and what it cost. Everything down to `overlapping` must be empty."""

    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    executions: int = 0
    extra: int = 0
    recovery_seconds: float = 0.0
    """The longest that a run which had begun stood still before it went on."""
    standstill_seconds: float = 0.0
    """The longest that nothing began anywhere though there was work."""

    def faults(self) -> dict[str, list[str]]:
        """Only what is wrong."""
        names = ("lost", "wrong", "twice", "disordered", "late", "orphans", "overlapping")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def check(evidence: Evidence) -> Findings:
    by_place: dict[Place, list[Execution]] = defaultdict(list)
    by_run: dict[int, list[Execution]] = defaultdict(list)
    for one in sorted(evidence.executions, key=lambda one: one.begin):
        by_place[one.run, one.step].append(one)
        by_run[one.run].append(one)
    return Findings(
        lost=_lost(evidence, by_place),
        wrong=_wrong(evidence),
        twice=[*_again(evidence, by_place), *_replaced(evidence)],
        disordered=_disordered(by_place),
        late=_late(evidence),
        orphans=list(evidence.orphans),
        overlapping=_overlapping(by_place, evidence.overlap_allowed_seconds),
        executions=len(evidence.executions),
        extra=sum(len(several) - 1 for several in by_place.values()),
        recovery_seconds=round(max((_stood_still(several) for several in by_run.values()), default=0.0), 2),
        standstill_seconds=round(_longest_gap(one.begin for one in evidence.executions), 2),
    )


def expected_digests(run: int) -> dict[str, str]:
    """Step -> the digest of its one output file."""
    digests, content = {}, b""
    for step in STEPS:
        content = output_of(step, run, content)
        digests[step] = digest_of(content)
    return digests


def _lost(evidence: Evidence, by_place: Mapping[Place, Sequence[Execution]]) -> list[str]:
    found = []
    for run in range(evidence.runs):
        missing = [step for step in STEPS if (run, step) not in evidence.last]
        if missing:
            cut_short = sum(not one.ended for one in by_place.get((run, missing[0]), ()))
            text = f"run {run}: no {', '.join(missing)}; {cut_short} executions of {missing[0]} were cut short"
            found.append(f"{text}; {evidence.ends.get(run, 'it has not ended')}")
    return found


def _wrong(evidence: Evidence) -> list[str]:
    found = []
    for (run, step), publication in sorted(evidence.last.items()):
        expected = {file_of(step): expected_digests(run)[step]}
        if publication.files != expected:
            found.append(f"run {run}, {step}: outputs {sorted(publication.files)} with other content than computed")
    return found


def _again(evidence: Evidence, by_place: Mapping[Place, Sequence[Execution]]) -> list[str]:
    """Executions that began although the step was published."""
    return [
        f"run {place[0]}, {place[1]}: began on {one.machine} {one.begin - published.at:.2f} s after it was published"
        for place, several in sorted(by_place.items())
        if (published := evidence.first.get(place) or evidence.last.get(place))
        for one in several
        if one.begin > published.at + _CLOCK_SECONDS
    ]


def _replaced(evidence: Evidence) -> list[str]:
    return [
        f"run {run}, {step}: published again, in another folder than the first"
        for (run, step), now in sorted(evidence.last.items())
        if (before := evidence.first.get((run, step))) and before.inode != now.inode
    ]


def _disordered(by_place: Mapping[Place, Sequence[Execution]]) -> list[str]:
    """Steps that began before any execution of the one before had come to its end."""
    found = []
    for (run, step), several in sorted(by_place.items()):
        if step == STEPS[0]:
            continue
        before = by_place.get((run, STEPS[STEPS.index(step) - 1]), ())
        done = min((one.last for one in before if one.ended), default=float("inf"))
        if several[0].begin < done - _CLOCK_SECONDS:
            found.append(f"run {run}: {step} began before the step before it had ended")
    return found


def _late(evidence: Evidence) -> list[str]:
    """Published folders that changed afterwards."""
    found = []
    for (run, step), now in sorted(evidence.last.items()):
        before = evidence.first.get((run, step), now)
        if now.changed > now.at + _CLOCK_SECONDS or before.files != now.files:
            found.append(f"run {run}, {step}: written to {now.changed - now.at:.2f} s after it was published")
    gone = sorted(evidence.first.keys() - evidence.last.keys())
    return [*found, *(f"run {run}, {step}: was published and is gone" for run, step in gone)]


def _overlapping(by_place: Mapping[Place, Sequence[Execution]], allowed_seconds: float) -> list[str]:
    found = []
    for (run, step), several in sorted(by_place.items()):
        for older, newer in pairwise(several):
            seconds = older.lived_after(newer.begin)
            if seconds > allowed_seconds:
                found.append(f"run {run}, {step}: lived on {older.machine} and {newer.machine} for {seconds:.2f} s")
    return found


def _stood_still(several: Sequence[Execution]) -> float:
    """Of one run: from the last sign of all before to the next begin."""
    longest, last = 0.0, several[0].last
    for one in several[1:]:
        longest = max(longest, one.begin - last)
        last = max(last, one.last)
    return longest


def _longest_gap(begins: Iterable[float]) -> float:
    return max((later - earlier for earlier, later in pairwise(sorted(begins))), default=0.0)
