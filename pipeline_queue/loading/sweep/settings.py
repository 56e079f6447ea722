"""How a sweep is worked on, and the declarations that its numbers and words are read by."""

from __future__ import annotations

from pipeline_queue.model.pipeline import Parameter

MAX_RUNS = 1_000_000_000
"""Run numbers have at most nine digits."""


SETTINGS: dict[str, Parameter] = {
    "max_parallel": Parameter(name="max_parallel", type="int", min=1, max=MAX_RUNS),
    "priority": Parameter(name="priority", type="string", choices=("high", "normal", "low")),
    "on_failure": Parameter(name="on_failure", type="string", choices=("continue", "stop")),
    "max_failures": Parameter(name="max_failures", type="int", min=0, max=MAX_RUNS),
    "unused": Parameter(name="unused", type="string", choices=("refuse", "allow")),
}
COUNT = Parameter(name="count", type="int", min=1, max=MAX_RUNS)
SEED = Parameter(name="seed", type="int")
NUMBERS: dict[str, Parameter] = {
    "repeat": COUNT.model_copy(update={"name": "repeat"}),
    "max_runs": COUNT.model_copy(update={"name": "max_runs"}),
}
