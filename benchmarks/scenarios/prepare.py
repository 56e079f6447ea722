"""A hundred runs that share a first step of one second: executed once, also when its worker is killed."""

from __future__ import annotations

import re
import time
from pathlib import Path

from benchmarks.figures import Aim, Figure, at_most, exactly, under
from benchmarks.progress import say
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import BenchmarkError, wait_until
from benchmarks.site import Site, Worker
from benchmarks.witness import MARKED, FileStamp, Witness, tally

_SLOTS = 4
_PREPARE, _PREPARE_SECONDS = "prepare", 1.0
_TRAIN_SECONDS = 0.2
_FACTOR = 1.5
_LIMIT_SECONDS = 300.0


def measure(conditions: Conditions) -> list[Figure]:
    runs = 12 if conditions.is_quick else 100
    return [*_undisturbed(conditions.part("undisturbed"), runs), *_killed(conditions.part("killed"), runs)]


def _undisturbed(conditions: Conditions, runs: int) -> list[Figure]:
    with conditions.site() as site:
        site.start_workers(1, slots=_SLOTS)
        began = time.monotonic()
        _finish(site, _submit(site, runs), runs)
        seconds = time.monotonic() - began
    aim = _FACTOR * (_PREPARE_SECONDS + runs * _TRAIN_SECONDS / _SLOTS)
    what = f"prepare of {_PREPARE_SECONDS} s, {runs} trains of {_TRAIN_SECONDS} s, {_SLOTS} slots"
    return [*_counts(conditions.witness, runs, "", exactly(1)), Figure(what, seconds, "s", under(aim))]


def _killed(conditions: Conditions, runs: int) -> list[Figure]:
    witness = conditions.witness
    with conditions.site() as site:
        workers = site.start_workers(2, slots=_SLOTS // 2)
        sweep = _submit(site, runs)
        wait_until("prepare begins", lambda: bool(_prepares(witness, "begun")))
        victim = _holder(workers, _prepares(witness, "begun")[0])
        site.kill(victim)
        if _prepares(witness, "ended"):
            raise BenchmarkError("prepare had ended before its worker was killed")
        say(f"  killed {victim.name}, which held prepare")
        began = time.monotonic()
        _finish(site, sweep, runs)
        seconds = time.monotonic() - began
    figures = _counts(witness, runs, ", its worker killed", at_most(2))
    ended = len(_prepares(witness, "ended"))
    return [
        *figures,
        Figure("prepare executed to its end, its worker killed", ended, "", exactly(1)),
        Figure("from the kill to the last run's end", seconds, "s", note="a lease runs out after 15 s"),
    ]


def _submit(site: Site, runs: int) -> str:
    lengths = (f"prepare_seconds={_PREPARE_SECONDS}", f"train_seconds={_TRAIN_SECONDS}")
    return site.submit(site.client.load(MARKED / "shared.yaml"), f"n=range(0,{runs})", *lengths)


def _finish(site: Site, sweep: str, runs: int) -> None:
    report = site.wait_for_end(sweep, _LIMIT_SECONDS)
    if report.counts["succeeded"] != runs:
        raise BenchmarkError(f"{sweep} of {runs} runs ended as {report.counts}: {report.failures}")


def _counts(witness: Witness, runs: int, when: str, aim: Aim) -> list[Figure]:
    executed = witness.executed()
    prepared = executed.pop(_PREPARE, 0)
    found = tally(executed, [f"train {n}" for n in range(runs)])
    return [
        Figure(f"prepare executed{when}", prepared, "", aim),
        Figure(f"trains lost{when}", found.lost, "", exactly(0)),
        Figure(f"trains doubled{when}", found.doubled, "", exactly(0)),
    ]


def _prepares(witness: Witness, moment: str) -> list[FileStamp]:
    return [mark for mark in witness.marks() if (mark.moment, mark.words) == (moment, _PREPARE)]


def _holder(workers: list[Worker], mark: FileStamp) -> Worker:
    """The worker that executes the step, by its processes alone."""
    above = _ancestors(mark.process)
    found = [worker for worker in workers if worker.process.pid in above]
    if not found:
        raise BenchmarkError("prepare had ended before its worker was found")
    return found[0]


def _ancestors(process: int) -> set[int]:
    """The processes that a process descends from, so far as it and they are still there."""
    found: set[int] = set()
    while process:
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            break
        parent = re.search(r"^PPid:\s+(\d+)$", status, re.MULTILINE)
        process = int(parent[1]) if parent else 0
        found.add(process)
    return found
