"""A sweep of a million points: accepted, looked at, partly executed and cancelled, and what that costs Redis."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.command import run_command
from benchmarks.figures import Figure, at_most, exactly, under
from benchmarks.progress import say
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import SLOTS, BenchmarkError
from benchmarks.site import Site
from benchmarks.work import PIPELINES
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.storage.storage import Storage

_IDLE = PIPELINES / "idle" / "pipeline.yaml"
_MB = 1e6
_TIMES = 3
_SECONDS_PER_RUN = 0.1
_END_SECONDS = 60.0


def measure(conditions: Conditions) -> list[Figure]:
    side, runs = (100, 200) if conditions.is_quick else (1000, 20_000)
    values = (f"n=range(0,{side})", f"m=range(0,{side})")
    with conditions.site() as site:
        figures = _accepted_in_process(site, values)
        sweep, more = _accepted_by_command(site, values)
        figures += more
        figures.append(_status(site, sweep, "before any worker"))
        figures += _execute(site, sweep, runs)
        figures.append(_status(site, sweep, "while it is worked on"))
        figures.append(_status_in_process(site, sweep))
        figures += _cancelled(site, sweep, side * side)
    return figures


def _accepted_in_process(site: Site, values: tuple[str, ...]) -> list[Figure]:
    before, began = _used_bytes(site), time.monotonic()
    sweep = site.submit(site.client.load(_IDLE), *values)
    seconds = time.monotonic() - began
    total, grown = site.client.sweep(sweep).total, _used_bytes(site) - before
    site.client.cancel_sweep(sweep)
    say(f"  accepted in {seconds:.2f} s by the client")
    return [
        Figure(f"{total:,} points accepted, Python API", seconds, "s", under(1)),
        Figure("Redis grows by, Python API", grown / _MB, "MB", under(10)),
    ]


def _accepted_by_command(site: Site, values: tuple[str, ...]) -> tuple[str, list[Figure]]:
    before = _used_bytes(site)
    done = run_command(site, "sweep", str(_IDLE), *(word for text in values for word in ("-p", text)), "--detach")
    grown = _used_bytes(site) - before
    say(f"  accepted in {done.seconds:.2f} s by the command")
    return done.out.strip(), [
        Figure("accepted, whole command", done.seconds, "s", under(1)),
        Figure("submitter's most memory", done.peak_bytes / _MB, "MB", under(150)),
        Figure("Redis grows by, whole command", grown / _MB, "MB", under(10)),
    ]


def _status(site: Site, sweep: str, when: str) -> Figure:
    seconds = median(run_command(site, "status", sweep).seconds for _ in range(_TIMES))
    return Figure(f"`status` {when} (median of {_TIMES})", seconds, "s", under(0.5))


def _status_in_process(site: Site, sweep: str) -> Figure:
    """Without what starting Python and importing take, which is nearly all of the command."""
    began = time.monotonic()
    site.client.sweep(sweep)
    return Figure("the same, Python API", 1000 * (time.monotonic() - began), "ms")


def _execute(site: Site, sweep: str, runs: int) -> list[Figure]:
    site.start_workers(1)
    began, most = time.monotonic(), 0.0

    def sample() -> None:
        nonlocal most
        most = max(most, _used_bytes(site))

    report = site.wait_for_runs(sweep, runs, 60 + runs * _SECONDS_PER_RUN, each_time=sample)
    seconds = time.monotonic() - began
    if report.counts["succeeded"] < runs:
        raise BenchmarkError(f"{sweep} was to execute {runs:,} runs: {report.counts}")
    return [
        Figure(f"Redis' most memory while {runs:,} runs execute", most / _MB, "MB", under(200)),
        Figure("runs per second", report.done / seconds, "", note=f"{SLOTS} slots"),
    ]


def _cancelled(site: Site, sweep: str, total: int) -> list[Figure]:
    done = run_command(site, "cancel", sweep)
    returned = time.time()
    report = site.wait_for_end(sweep, _END_SECONDS)
    # Long enough for what should not start to show itself.
    time.sleep(2)
    ends = _ends(site, sweep)
    succeeded = [end for end in ends if end.state == "succeeded"]
    counted = report.counts["succeeded"]
    late = [end for end in succeeded if (end.ended_at or 0) > returned]
    say(f"  cancelled in {done.seconds:.2f} s")
    return [
        Figure("`cancel`, whole command", done.seconds, "s", under(2)),
        Figure("runs that succeeded after it had returned", len(late), "", at_most(SLOTS)),
        Figure("runs counted at the end", sum(report.counts.values()), "", exactly(total)),
        Figure("runs that succeeded, as counted", counted),
        Figure("runs that succeeded, by their files", len(succeeded), "", exactly(counted)),
    ]


def _ends(site: Site, sweep: str) -> list[RunRecord]:
    """How each run ended that was ever started, read from the files."""
    ends = (paths.end() for _, paths in Storage(site.settings.storage).runs(sweep))
    return [end for end in ends if end is not None]


def _used_bytes(site: Site) -> float:
    return float(site.redis.info("memory")["used_memory"])
