"""A submitter killed at random moments and run again under the same name: exactly the right runs, once."""

from __future__ import annotations

import random
import time
from collections import Counter

from benchmarks.command import Command, run_command
from benchmarks.figures import Figure, exactly
from benchmarks.progress import say
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import BenchmarkError, wait_until
from benchmarks.site import Site
from benchmarks.witness import MARKED, tally

_RUNS = 10
_KILLS = 20
_MOMENT_SECONDS = 0.02
_LIMIT_SECONDS = 120.0


def measure(conditions: Conditions) -> list[Figure]:
    kills = 4 if conditions.is_quick else _KILLS
    chance = random.Random(conditions.seed)
    with conditions.site() as site:
        site.start_workers(1)
        longest = _accepted_after(site)
        killed = before = 0
        for number in range(1, kills + 1):
            known = _sweeps(site)
            was_killed = _kill_one(site, number, chance, longest)
            killed += was_killed
            before += was_killed and _sweeps(site) == known
            _submit_again(site, number)
            say(f"  kill {number}/{kills}")
        sweeps = _sweeps(site)
    expected = [f"{n} {m}" for m in range(kills + 1) for n in range(_RUNS)]
    found = tally(_values(conditions.witness.executed()), expected)
    return [
        Figure("executions, as the steps tell", found.executed, "", exactly(len(expected))),
        Figure("lost", found.lost, "", exactly(0)),
        Figure("doubled", found.doubled, "", exactly(0)),
        Figure("sweeps on the storage", sweeps, "", exactly(kills + 1)),
        Figure("submitters killed", killed, note=f"of {kills}; seed {conditions.seed}, within {longest:.2f} s"),
        Figure("of these, before `sweep.json` was there", before),
    ]


def _kill_one(site: Site, number: int, chance: random.Random, longest: float) -> bool:
    """Every other one is killed in the short moment after `sweep.json` is there, which chance alone seldom meets."""
    known = _sweeps(site)
    command = Command(site, *_words(number), "--detach")
    if number % 2:
        time.sleep(chance.uniform(0, longest))
    else:
        wait_until("it is accepted", lambda: _sweeps(site) > known, poll_seconds=0.0005)
        time.sleep(chance.uniform(0, _MOMENT_SECONDS))
    return command.kill()


def _words(number: int) -> tuple[str, ...]:
    values = ("-p", f"n=range(0,{_RUNS})", "-p", f"m={number}")
    return ("sweep", str(MARKED / "one.yaml"), *values, "--name", f"night-{number}")


def _accepted_after(site: Site) -> float:
    """The seconds of a submission that nobody disturbs."""
    seconds = run_command(site, *_words(0), "--detach").seconds
    _submit_again(site, 0)
    return seconds


def _submit_again(site: Site, number: int) -> None:
    counts = run_command(site, *_words(number), "--json", limit_seconds=_LIMIT_SECONDS).json()["counts"]
    if counts["succeeded"] != _RUNS:
        raise BenchmarkError(f"the sweep of kill {number} ended as {counts}")


def _values(executed: Counter[str]) -> Counter[str]:
    """Without the runs' ids: those of a doubled sweep would be others."""
    counts: Counter[str] = Counter()
    for words, count in executed.items():
        counts[words.partition(" ")[2]] += count
    return counts


def _sweeps(site: Site) -> int:
    return len(list((site.settings.storage / "sweeps").glob("*/sweep.json")))
