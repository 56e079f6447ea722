"""The interleaving: every side measured once in each round, another one first each time."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.progress import say
from benchmarks.side import Side, Timing
from benchmarks.work import STEPS_PER_RUN, Work

Rounds = dict[str, dict[str, list[Timing]]]
"""Work -> side -> its timing in each round."""

_WARM_UP_RUNS = 10
_LIMIT_SECONDS_PER_STEP = 1.0


def warm_up(sides: Sequence[Side], works: Sequence[Work]) -> None:
    """So that no side is measured while it imports and connects."""
    say(f"started {', '.join(side.name for side in sides)}; warming up")
    for work in works:
        for side in sides:
            side.measure(work, _WARM_UP_RUNS, _limit_seconds(_WARM_UP_RUNS))


def measure_rounds(sides: Sequence[Side], works: Sequence[Work], runs: int, rounds: int) -> Rounds:
    """Raises BenchmarkError when a side does not do its work."""
    timings: Rounds = {work.name: {side.name: [] for side in sides} for work in works}
    for number in range(rounds):
        for work in works:
            # Another one first in each round, so that no side always has the quietest moment.
            for position in range(len(sides)):
                side = sides[(number + position) % len(sides)]
                timing = side.measure(work, runs, _limit_seconds(runs))
                timings[work.name][side.name].append(timing)
                ms = 1000 * timing.seconds / (runs * STEPS_PER_RUN)
                say(f"round {number + 1}/{rounds}  {work.name:16} {side.name:15} {ms:7.2f} ms/step")
    return timings


def _limit_seconds(runs: int) -> float:
    return 30 + runs * STEPS_PER_RUN * _LIMIT_SECONDS_PER_STEP
