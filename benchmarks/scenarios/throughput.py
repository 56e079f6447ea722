"""Two thousand runs of three steps that do nothing, as sweeps, against the hand-written Celery chain."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median

from benchmarks.figures import Figure, at_most
from benchmarks.hand_written import HandWritten
from benchmarks.ours import Ours
from benchmarks.rounds import measure_rounds, warm_up
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import Side, Timing
from benchmarks.table import median_ratio
from benchmarks.work import STEPS_PER_RUN, TRUE

_RUNS, _ROUNDS = 500, 4


def measure(conditions: Conditions) -> list[Figure]:
    runs, rounds = (30, 2) if conditions.is_quick else (_RUNS, _ROUNDS)
    with ExitStack() as stack:
        ours, chain = Ours(conditions.folder / "ours"), HandWritten(conditions.folder / "chain")
        sides: list[Side] = [ours, chain]
        for side in sides:
            stack.callback(side.stop)
            side.start()
        warm_up(sides, [TRUE])
        timings = measure_rounds(sides, [TRUE], runs, rounds)[TRUE.name]
    ratio = median_ratio(timings[ours.name], timings[chain.name])
    what = f"{rounds} sweeps of {runs} runs of {STEPS_PER_RUN} steps, times the chain"
    return [
        Figure(what, ratio, "x", at_most(1.2), note="median of the ratios within each round"),
        *(Figure(f"{name} (median)", _ms(timings[name], runs), "ms/step") for name in timings),
    ]


def _ms(timings: list[Timing], runs: int) -> float:
    return median(1000 * timing.seconds / (runs * STEPS_PER_RUN) for timing in timings)
