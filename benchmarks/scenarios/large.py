"""What is asked of large sweeps and of a long list of them, by the whole command; the best of a few times."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.command import run_command
from benchmarks.fabricate import fabricate_ended
from benchmarks.figures import Figure, at_most, exactly, under
from benchmarks.progress import say
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import BenchmarkError
from benchmarks.site import Site
from benchmarks.witness import MARKED
from benchmarks.work import PIPELINES
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.storage.storage import Storage

_IDLE = PIPELINES / "idle" / "pipeline.yaml"
_TIMES = 3
_WORKERS, _SLOTS = 2, 16
_LOADED_SECONDS = 10.0
_END_SECONDS = 120.0


def measure(conditions: Conditions) -> list[Figure]:
    results, failed, sweeps = (200, 100, 50) if conditions.is_quick else (20_000, 10_000, 10_000)
    with conditions.part("ended").site() as site:
        scored = site.client.load(MARKED / "scored.yaml")
        figures = [_results(site, scored, results), *_retried(site, scored, failed)]
    with conditions.part("listed").site() as site:
        figures.append(_listed(site, sweeps))
    with conditions.part("loaded").site() as site:
        figures += _loaded(site, 100 if conditions.is_quick else 1000)
    return figures


def _best(measured: Callable[[], float]) -> float:
    return min(measured() for _ in range(_TIMES))


def _results(site: Site, pipeline: LoadedPipeline, runs: int) -> Figure:
    sweep = fabricate_ended(site, pipeline, f"n=range(0,{runs})")
    say(f"  {runs:,} runs are there")
    seconds = _best(lambda: run_command(site, "results", sweep).seconds)
    return Figure(f"`results` of {runs:,} runs (best of {_TIMES})", seconds, "s", under(3))


def _retried(site: Site, pipeline: LoadedPipeline, runs: int) -> list[Figure]:
    """Only opened again: there is no worker."""
    waiting = []

    def retry() -> float:
        sweep = fabricate_ended(site, pipeline, f"n=range(0,{runs})", fails=lambda _: True)
        seconds = run_command(site, "retry", sweep, "--detach").seconds
        waiting.append(site.client.sweep(sweep).counts["queued"])
        site.client.cancel_sweep(sweep)
        return seconds

    seconds = _best(retry)
    return [
        Figure(f"`retry` of {runs:,} failed runs (best of {_TIMES})", seconds, "s", under(5)),
        Figure("of these waiting afterwards (least)", min(waiting), "", exactly(runs)),
    ]


def _listed(site: Site, sweeps: int) -> Figure:
    pipeline = site.client.load(MARKED / "scored.yaml")
    for number in range(sweeps):
        fabricate_ended(site, pipeline, f"n={number}")
    say(f"  {sweeps:,} sweeps are there")
    seconds = _best(lambda: run_command(site, "list").seconds)
    return Figure(f"`list` beside {sweeps:,} sweeps (best of {_TIMES})", seconds, "s", under(2))


def _loaded(site: Site, side: int) -> list[Figure]:
    """With many more slots than processors, all of them busy."""
    sweep = site.submit(site.client.load(_IDLE), f"n=range(0,{side})", f"m=range(0,{side})")
    site.start_workers(_WORKERS, _SLOTS)
    time.sleep(_LOADED_SECONDS)
    status = _best(lambda: run_command(site, "status", sweep).seconds)
    if site.client.sweep(sweep).counts["queued"] == 0:
        raise BenchmarkError(f"{sweep} is too small: it is done before it was looked at")
    cancel = run_command(site, "cancel", sweep).seconds
    report = site.wait_for_end(sweep, _END_SECONDS)
    load = f"{_WORKERS * _SLOTS} busy slots"
    return [
        Figure(
            f"`status` of {side * side:,} runs under full load (best of {_TIMES})", status, "s", under(2), note=load
        ),
        Figure(f"`cancel` of {side * side:,} runs under full load", cancel, "s", under(2), note=load),
        Figure("runs counted at the end", sum(report.counts.values()), "", exactly(side * side)),
        Figure(
            "inodes of a finished run of one step", _inodes(site, sweep), "", at_most(4), note="which wrote nothing"
        ),
    ]


def _inodes(site: Site, sweep: str) -> float:
    """Of runs that succeeded, on average."""
    paths = [paths for _, paths in Storage(site.settings.storage).runs(sweep)]
    ends = [(one, one.end()) for one in paths]
    taken = [1 + len(list(one.folder.rglob("*"))) for one, end in ends if end is not None and end.state == "succeeded"]
    if not taken:
        raise BenchmarkError(f"no run of {sweep} has succeeded")
    return sum(taken) / len(taken)
