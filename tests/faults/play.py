"""Plays a schedule against a lab while its runs are under way, and gathers the evidence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.actions import UNDO, apply
from tests.faults.checker import ENDING_SECONDS, Evidence
from tests.faults.lab import Lab
from tests.faults.pipeline.step import STEPS
from tests.faults.processes import is_step, processes
from tests.faults.schedule import Fault, Schedule
from tests.faults.sightings import Watch, ends, look
from tests.faults.witness import executions, read_witness

_LOOK_SECONDS = 0.1
_SETTLE_SECONDS = 3.0
_ORPHAN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Work:
    """`seconds` holds one figure for each step; idle so long, the lab is taken to be stuck."""

    runs: int
    seconds: str = "0.3:0.3:0.3"
    idle_seconds: float = 60.0
    overlap_allowed_seconds: float = ENDING_SECONDS


@dataclass(frozen=True, slots=True)
class Played:
    evidence: Evidence
    faults: list[tuple[Fault, float]]
    """Those that were played, each with the boot clock's reading then."""
    seconds: float
    """From the submission to the last publication, or until nothing moved any more."""
    exits: int
    """How many workers ended by themselves."""
    after_seconds: float = 0.0
    """From the last undoing of a fault to the end."""
    orphan_seconds: float = 0.0
    """How long after the end a process of a step still lived."""


def play(lab: Lab, work: Work, schedule: Schedule, end_meddling: Callable[[], None] = lambda: None) -> Played:
    runs = lab.submit(work.runs, work.seconds)
    began = _boot()
    watch = Watch(runs, STEPS)
    try:
        played, ended = _until_done(lab, work, schedule, watch, began)
    finally:
        end_meddling()
        watch.stop()
    time.sleep(_SETTLE_SECONDS)
    orphans, orphan_seconds = _orphans(lab)
    ran = executions(read_witness(lab.witness))
    undone = [at for fault, at in played if fault.kind in UNDO and at < ended]
    last = look(runs, STEPS)
    unfinished = {run for run in range(work.runs) if any((run, step) not in last for step in STEPS)}
    allowed, told = work.overlap_allowed_seconds, ends(runs, unfinished)
    return Played(
        evidence=Evidence(work.runs, ran, watch.first, last, orphans, allowed, told),
        faults=played,
        seconds=round(ended - began, 2),
        exits=sum(machine.exits() for machine in lab.machines.values()),
        after_seconds=round(ended - max(undone), 2) if undone else 0.0,
        orphan_seconds=orphan_seconds,
    )


def _until_done(
    lab: Lab, work: Work, schedule: Schedule, watch: Watch, began: float
) -> tuple[list[tuple[Fault, float]], float]:
    left = list(schedule)
    played: list[tuple[Fault, float]] = []
    stirred, moved_at = None, _boot()
    while True:
        now = _boot()
        is_done = len(watch.first) == work.runs * len(STEPS)
        state = (_size(lab.witness), len(watch.first))
        if state != stirred or any(fault.kind in UNDO for fault in left[:1]):
            stirred, moved_at = state, now
        if is_done or now - moved_at > work.idle_seconds:
            for fault in _open(played, left):
                apply(lab, fault)
            return played, moved_at
        while left and began + left[0].second <= _boot():
            apply(lab, left[0])
            played.append((left.pop(0), _boot()))
        time.sleep(_LOOK_SECONDS)


def _open(played: list[tuple[Fault, float]], left: list[Fault]) -> list[Fault]:
    """What undoes faults that have begun; of those that have not, nothing is to be undone."""
    begun = {fault.target for fault, _ in played}
    undo: dict[str, Fault] = {}
    for fault in left:
        if fault.target in begun and fault.target not in undo:
            undo[fault.target] = fault
    return [fault for fault in undo.values() if fault.kind in UNDO]


def _orphans(lab: Lab) -> tuple[list[str], float]:
    """Processes of steps that live although no step is to run, and for how long some did."""
    began = time.monotonic()
    while left := processes(lab.name, is_step):
        if time.monotonic() - began > _ORPHAN_SECONDS:
            break
        time.sleep(_LOOK_SECONDS)
    return [str(process) for process in left], round(time.monotonic() - began, 2) if left else 0.0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
