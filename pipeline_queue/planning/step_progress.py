"""Computes a sweep's progress in executions of steps, and its time left: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import quantiles

from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.step_key import executions_of_steps, shareable_steps
from pipeline_queue.space import Space

MAX_COUNTED_RUNS = 20_000
"""Of a sweep whose runs share steps: how often those are executed is found by looking at every run."""


@dataclass(frozen=True, slots=True)
class StepTotals:
    """Step -> how often the whole sweep executes it, in the pipeline's order; `shared`: those that runs share."""

    executions: Mapping[str, int]
    shared: frozenset[str]

    @property
    def total(self) -> int:
        return sum(self.executions.values())


def step_totals(pipeline: Pipeline, space: Space) -> StepTotals | None:
    """None for a sweep that has too many runs to find out."""
    shared = shareable_steps(pipeline, space)
    if shared and len(space) > MAX_COUNTED_RUNS:
        return None
    return StepTotals(executions_of_steps(pipeline, space), shared)


def executions_left(
    totals: StepTotals, runs_left: int, published: Mapping[int, int], shared_done: Mapping[str, int]
) -> dict[str, int]:
    """Step -> how many executions of it have yet to end.

    `runs_left` have not ended; `published`: how many first steps -> of how many of those; `shared_done`: step -> how
    many of its executions are published. What a failed or cancelled run did not come to is not left any more.
    """
    left: dict[str, int] = {}
    for number, (step, executions) in enumerate(totals.executions.items(), 1):
        if step in totals.shared:
            left[step] = max(0, executions - shared_done.get(step, 0)) if runs_left else 0
        else:
            passed = sum(runs for count, runs in published.items() if count >= number)
            left[step] = max(0, runs_left - passed)
    return left


def seconds_left(
    left: Mapping[str, int], took_seconds: Mapping[str, tuple[float, ...]], runs_left: int, slots: int
) -> tuple[float, float] | None:
    """At least and at most, if most steps take what most have taken; None while a step is left that none has ended.

    `slots`: how many steps can be executed at a time; a run has one at a time.
    """
    rest = {step: count for step, count in left.items() if count}
    if not rest or slots < 1 or any(not took_seconds.get(step) for step in rest):
        return None
    at_a_time = min(slots, max(runs_left, 1))
    low = high = 0.0
    for step, count in rest.items():
        short, long = _usual(took_seconds[step])
        low += count * short / at_a_time
        # Whatever is executed beside it, one execution of each is waited for.
        high += max(count * long / at_a_time, long)
    return low, high


def _usual(seconds: tuple[float, ...]) -> tuple[float, float]:
    """Between which most lie."""
    if len(seconds) < 2:
        return seconds[0], seconds[0]
    first, *_, last = quantiles(seconds, n=5, method="inclusive")
    return first, last
