"""What sweeps are judged by, one file for each line of it."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.scenarios import fairness, killed, large, million, prepare, results, retry, submitters, throughput
from benchmarks.scenarios.conditions import Conditions

SCENARIOS: dict[str, Callable[[Conditions], list[Figure]]] = {
    "million": million.measure,
    "submitters": submitters.measure,
    "fairness": fairness.measure,
    "prepare": prepare.measure,
    "retry": retry.measure,
    "killed": killed.measure,
    "throughput": throughput.measure,
    "results": results.measure,
    "large": large.measure,
}
"""Name -> what measures it. Raises BenchmarkError when the work was not done, and errors of the product."""
