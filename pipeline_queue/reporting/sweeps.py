"""Reports a sweep with its counts, rate and time left: from its end, else the index, else what lies on the storage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from typing import Any, Literal

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import MetricSpan, spans_of
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.states import FailureGroup
from pipeline_queue.index.live_sweeps import LiveProgress, LiveSweep
from pipeline_queue.model.failure_causes import cause_of, grouped, reason_of
from pipeline_queue.model.main_metric import MainMetric, main_metric
from pipeline_queue.planning.step_progress import StepTotals, executions_left, seconds_left
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.at_once import at_once
from pipeline_queue.storage.run_store import RunStore

SweepState = Literal["queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled", "stopped"]

MAX_REASONS = 10
ENDED_SWEEP: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "stopped"})


@dataclass(frozen=True, slots=True)
class SweepReport:
    """A sweep as it is now; `pausing` while steps of a paused one still execute.

    `counts` are runs by state; what waits for a shared step or for the sweep to be resumed is `queued`.
    `runs_per_second` is the mean so far (since it was last retried), None before the first end; `seconds_left` what
    that leads one to expect. Times are Unix seconds. `executing`: steps that workers execute now; `held`: runs that
    wait for the sweep to be resumed; `waiting`: shared step -> runs that wait for another's execution of it;
    `retrying`: runs that wait to be tried again. `steps_done` of `steps_total` executions of steps are over or will
    not be made any more, a shared one counted once; None for a sweep too large to count them. `seconds_left_range`:
    at least and at most, from what its steps have taken so far. `metric`: what its succeeded runs have reached.
    """

    sweep: str
    name: str
    state: SweepState
    total: int
    counts: dict[str, int]
    failures: tuple[FailureGroup, ...]
    created_at: float
    ended_at: float | None
    runs_per_second: float | None
    seconds_left: float | None
    executing: int = 0
    held: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    retrying: int = 0
    steps_done: int | None = None
    steps_total: int | None = None
    seconds_left_range: tuple[float, float] | None = None
    metric: MainMetric | None = None

    @property
    def done(self) -> int:
        return self.counts["succeeded"] + self.counts["failed"] + self.counts["cancelled"]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_sweep(storage: RunStore, sweep: Sweep, live: LiveSweep | None) -> SweepReport:
    """`live` is what the index knows, None where it knows nothing or is not asked."""
    end = storage.sweep_end(sweep.record.id)
    if end is not None:
        causes = end.failures or (live.causes if live else ())
        if not causes and end.counts.get("failed"):
            causes = read_ends(storage, sweep.record.id).failures  # it ended before they were written down
        counts = {"queued": 0, "running": 0, **end.counts}
        report = _report(sweep, end.state, counts, causes, end.created_at, end.ended_at, end.ended_at, end.done_before)
        return replace(report, metric=main_metric(sweep.record.id, end.metrics))
    if live is not None and live.adds_up:
        return _from_index(sweep, live)
    return _from_storage(storage, sweep)


def with_progress(
    report: SweepReport,
    totals: StepTotals | None,
    live: LiveSweep,
    progress: LiveProgress,
    shared_done: Mapping[str, int],
    slots: int,
) -> SweepReport:
    """The report of a sweep that goes on, with its steps counted. `slots`: of the workers that there are."""
    report = replace(report, retrying=progress.retrying)
    if totals is None:
        return report
    runs_left = max(0, report.total - report.done)
    left = executions_left(totals, runs_left, progress.published, shared_done)
    report = replace(report, steps_done=totals.total - sum(left.values()), steps_total=totals.total)
    most = min(slots, live.max_parallel) if live.max_parallel else slots
    span = seconds_left(left, live.took_seconds, runs_left, most) if report.state == "running" else None
    return replace(report, seconds_left_range=span, seconds_left=sum(span) / 2) if span else report


def _from_index(sweep: Sweep, live: LiveSweep) -> SweepReport:
    ended = live.succeeded + live.failed + live.cancelled
    waiting = min(live.held + sum(live.waiting.values()), live.flight - live.unstarted)
    never = 0 if live.state in ("running", "paused") else live.total - live.cursor + live.reopened
    counts = {
        "queued": live.total - ended - (live.flight - live.unstarted) - never + waiting,
        "running": live.flight - live.unstarted - waiting,
        "succeeded": live.succeeded,
        "failed": live.failed,
        "cancelled": live.cancelled + never,
    }
    state: SweepState = live.state
    if live.ended_at is not None and live.state in ("running", "paused"):
        state = "failed" if live.failed else "succeeded"
    elif live.ended_at is None and live.state in ("cancelled", "stopped"):
        state = "running"
    elif live.state == "paused" and live.executing:
        state = "pausing"
    until = live.ended_at or live.now
    report = _report(sweep, state, counts, live.causes, live.created_at, live.ended_at, until, live.done_before)
    metric = main_metric(sweep.record.id, live.metrics)
    return replace(report, executing=live.executing, held=live.held, waiting=dict(live.waiting), metric=metric)


def _from_storage(storage: RunStore, sweep: Sweep) -> SweepReport:
    name, total = sweep.record.id, len(sweep.space)
    ends = read_ends(storage, name)
    counts = {"queued": 0, "running": ends.begun, **ends.counts}
    left = total - sum(counts.values())
    cancelled = storage.is_cancelled(name)
    counts["cancelled" if cancelled else "queued"] += left
    state: SweepState = "cancelled" if cancelled else "running" if left or counts["running"] else "succeeded"
    if state == "succeeded" and counts["failed"]:
        state = "failed"
    report = _report(sweep, state, counts, ends.failures, sweep.record.created_at, None, time.time())
    return replace(report, metric=main_metric(name, ends.metrics))


def add_reasons(storage: RunStore, sweep: Sweep, report: SweepReport) -> SweepReport:
    """The report with why the examples of its first causes failed, in their own words, where they can be read."""
    return replace(report, failures=tuple(
        replace(group, reason=_reason(storage, sweep, group.example)) if position < MAX_REASONS else group
        for position, group in enumerate(report.failures)
    ))  # fmt: skip


def _reason(storage: RunStore, sweep: Sweep, run: str) -> str:
    try:
        end = sweep.paths(storage, sweep.run_id(RunId.parse(run).index)).end()
    except (NotFoundError, StorageError):
        return ""
    return reason_of(end.message) if end else ""


@dataclass(frozen=True, slots=True)
class Ends:
    """What the ends of a sweep's runs say together.

    `counts` are runs by state, `begun` those with a folder and no end yet; `failures` the failed ones by cause, and
    `metrics` between which numbers those of the succeeded ones lie.
    """

    counts: dict[str, int]
    begun: int
    failures: tuple[FailureGroup, ...]
    metrics: dict[str, MetricSpan]


def read_ends(storage: RunStore, sweep: str) -> Ends:
    """Reads all of them once. Raises StorageError."""
    counts, begun = {"succeeded": 0, "failed": 0, "cancelled": 0}, 0
    failed, measured = [], []
    for index, end in at_once(lambda run: (run[0], run[1].end()), storage.runs(sweep)):
        if end is None:
            begun += 1
            continue
        counts[end.state] += 1
        if end.state == "failed":
            failed.append(failure_of(end))
        elif end.state == "succeeded":
            measured.append((index, end.metrics))
    return Ends(counts, begun, grouped(failed), spans_of(sorted(measured, key=itemgetter(0))))


def failure_of(end: RunRecord) -> tuple[str, str, bool]:
    """A failed run, its cause, and whether it shares the failure of another run's execution."""
    failed = next((step for step in end.steps if step.state == "failed"), None)
    return end.run, cause_of(end.message), failed is not None and failed.attempts == 0


def _report(
    sweep: Sweep,
    state: SweepState,
    counts: dict[str, int],
    causes: tuple[FailureGroup, ...],
    created_at: float,
    ended_at: float | None,
    now: float,
    done_before: int = 0,
) -> SweepReport:
    done = max(0, counts["succeeded"] + counts["failed"] - done_before)
    seconds = max(now - created_at, 1e-3)
    rate = done / seconds if done else None
    waiting = counts["queued"] + counts["running"]
    return SweepReport(
        sweep=sweep.record.id,
        name=sweep.record.name or sweep.record.id,
        state=state,
        total=len(sweep.space),
        counts=counts,
        failures=causes,
        created_at=created_at,
        ended_at=ended_at,
        runs_per_second=rate,
        seconds_left=waiting / rate if rate and state == "running" else None,
    )
