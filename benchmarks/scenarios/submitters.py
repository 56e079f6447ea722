"""Eight submitters at once, four workers: every run once, none lost, none doubled, ids distinct."""

from __future__ import annotations

import time

from benchmarks.command import Command
from benchmarks.figures import Figure, exactly
from benchmarks.progress import say
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import BenchmarkError
from benchmarks.witness import MARKED, Witness, tally

_SUBMITTERS = 8
_LIMIT_SECONDS = 600.0


def measure(conditions: Conditions) -> list[Figure]:
    runs, workers = (10, 2) if conditions.is_quick else (250, 4)
    with conditions.site() as site:
        site.start_workers(workers, slots=1)
        began = time.monotonic()
        words = ("sweep", str(MARKED / "one.yaml"), "-p", f"n=range(0,{runs})")
        commands = [Command(site, *words, "-p", f"m={m}", "--detach") for m in range(_SUBMITTERS)]
        sweeps = [command.wait().out.strip() for command in commands]
        say(f"  {len(sweeps)} sweeps of {runs} accepted")
        for sweep in sweeps:
            report = site.wait_for_end(sweep, _LIMIT_SECONDS)
            if report.counts["succeeded"] != runs:
                raise BenchmarkError(f"{sweep} of {runs} runs ended as {report.counts}")
        seconds = time.monotonic() - began
    return _figures(conditions.witness, sweeps, runs, seconds)


def _figures(witness: Witness, sweeps: list[str], runs: int, seconds: float) -> list[Figure]:
    expected = [f"{sweep}.{n} {n} {m}" for m, sweep in enumerate(sweeps) for n in range(runs)]
    found = tally(witness.executed(), expected)
    ids = {mark.words.split(" ")[0] for mark in witness.marks()}
    total = _SUBMITTERS * runs
    return [
        Figure("executions, as the steps tell", found.executed, "", exactly(total)),
        Figure("lost", found.lost, "", exactly(0)),
        Figure("doubled", found.doubled, "", exactly(0)),
        Figure("executed though nobody asked", found.strange, "", exactly(0)),
        Figure("distinct sweep ids", len(set(sweeps)), "", exactly(_SUBMITTERS)),
        Figure("distinct run ids, as the steps tell", len(ids), "", exactly(total)),
        Figure("first submission to last end", seconds, "s"),
    ]
