"""A small sweep behind a large one, against the same alone: how many times as long it takes."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.figures import Figure, above, at_most, exactly
from benchmarks.progress import say
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import SLOTS, wait_until
from benchmarks.site import Site
from benchmarks.witness import MARKED
from pipeline_queue.loading.loader import LoadedPipeline

_SMALL = 10
_STEP_SECONDS = "0.05"
_ROUNDS = 3
_UNDER_WAY = 20
_LIMIT_SECONDS = 300.0


def measure(conditions: Conditions) -> list[Figure]:
    large, rounds = (500, 1) if conditions.is_quick else (10_000, _ROUNDS)
    alone, behind, left = [], [], []
    with conditions.site() as site:
        site.start_workers(1)
        pipeline = site.client.load(MARKED / "one.yaml")
        _small(site, pipeline)
        for number in range(rounds):
            alone.append(_small(site, pipeline))
            sweep = _submit(site, pipeline, large)
            site.wait_for_runs(sweep, _UNDER_WAY, _LIMIT_SECONDS)
            behind.append(_small(site, pipeline))
            left.append(site.client.sweep(sweep).counts["queued"])
            site.client.cancel_sweep(sweep)
            site.wait_for_end(sweep, _LIMIT_SECONDS)
            wait_until("the large sweep's last steps end", lambda: not site.client.has_work(), _LIMIT_SECONDS)
            say(f"  round {number + 1}/{rounds}: alone {alone[-1]:.2f} s, behind {behind[-1]:.2f} s")
    executed = sum(count for words, count in conditions.witness.executed().items() if words.endswith(" 1"))
    ratio = median(two / one for one, two in zip(alone, behind, strict=True))
    return [
        Figure(f"{_SMALL} runs behind {large:,}: times as long as alone", ratio, "x", at_most(4)),
        Figure("alone (median)", median(alone), "s", note=f"{SLOTS} slots, steps of {_STEP_SECONDS} s"),
        Figure("behind (median)", median(behind), "s"),
        Figure("executions of the small ones, as the steps tell", executed, "", exactly(_SMALL * (2 * rounds + 1))),
        Figure("runs of the large one still waiting then (least)", min(left), "", above(0)),
    ]


def _small(site: Site, pipeline: LoadedPipeline) -> float:
    """Seconds from before its submission to its end; its steps are known by m=1."""
    began = time.monotonic()
    sweep = _submit(site, pipeline, _SMALL, m=1)
    site.wait_for_end(sweep, _LIMIT_SECONDS)
    return time.monotonic() - began


def _submit(site: Site, pipeline: LoadedPipeline, runs: int, m: int = 0) -> str:
    return site.submit(pipeline, f"n=range(0,{runs})", f"m={m}", f"seconds={_STEP_SECONDS}")
