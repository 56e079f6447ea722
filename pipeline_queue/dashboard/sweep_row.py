"""What the pages show of a sweep, as JSON: pure functions of reports and records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline_queue.contract.metric_spans import spans_of
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.states import ENDED
from pipeline_queue.model.main_metric import MainMetric, main_metric
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, SweepReport

_HOUR_SECONDS = 3600.0
_COUNTED = ("queued", "running", "succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One sweep, or a single run, in the list. Times are Unix seconds; the names are those of the JSON API."""

    id: str
    name: str
    pipeline: str
    state: str
    runs: int
    counts: dict[str, int]
    executing: int
    steps_done: int | None
    steps_total: int | None
    rate_per_hour: float | None
    seconds_left: float | None
    seconds_left_range: tuple[float, float] | None
    best: dict[str, Any] | None
    created_at: float
    ended_at: float | None
    submitted_by: str
    max_parallel: int | None
    cause: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def row_of_sweep(sweep: Sweep, report: SweepReport) -> SweepRow:
    top = report.failures[0] if report.failures else None
    return SweepRow(
        id=report.sweep,
        name=report.name,
        pipeline=sweep.pipeline.name,
        state=report.state,
        runs=report.total,
        counts={name: report.counts.get(name, 0) for name in _COUNTED},
        executing=report.executing,
        steps_done=report.steps_done,
        steps_total=report.steps_total,
        rate_per_hour=report.runs_per_second * _HOUR_SECONDS if report.runs_per_second else None,
        seconds_left=report.seconds_left,
        seconds_left_range=report.seconds_left_range,
        best=_best(report.metric),
        created_at=report.created_at,
        ended_at=report.ended_at,
        submitted_by=sweep.record.submitted_by,
        max_parallel=sweep.settings.max_parallel,
        cause={"text": top.text, "count": top.count} if top else None,
    )


def row_of_run(sweep: Sweep, run: RunRecord) -> SweepRow:
    """A sweep of a single run."""
    state = "running" if run.state in ("running", "waiting") else run.state
    counts = dict.fromkeys(_COUNTED, 0) | {state: 1}
    spans = spans_of([(0, run.metrics)]) if run.state == "succeeded" else {}
    done = sum(step.state == "succeeded" for step in run.steps)
    return SweepRow(
        id=run.sweep,
        name=sweep.record.name or run.sweep,
        pipeline=sweep.pipeline.name,
        state=state,
        runs=1,
        counts=counts,
        executing=sum(step.state == "running" for step in run.steps),
        steps_done=done,
        steps_total=len(run.steps),
        rate_per_hour=None,
        seconds_left=None,
        seconds_left_range=None,
        best=_best(main_metric(run.sweep, spans)),
        created_at=run.created_at,
        ended_at=run.ended_at if run.state in ENDED else None,
        submitted_by=sweep.record.submitted_by,
        max_parallel=sweep.settings.max_parallel,
        cause={"text": run.message, "count": 1} if run.state == "failed" else None,
    )


def possible_actions(state: str, counts: dict[str, int], runs: int) -> list[str]:
    """What makes sense in this state."""
    if state in ENDED_SWEEP:
        again = ["retry"] if counts["failed"] or counts["cancelled"] else []
        return [*again, "forget"]
    several = (["resume"] if state in ("paused", "pausing") else ["pause"]) if runs > 1 else []
    again = ["retry"] if counts["failed"] else []
    return [*several, "cancel", *again]


def _best(metric: MainMetric | None) -> dict[str, Any] | None:
    if metric is None or metric.best is None:
        return None
    return {"metric": metric.name, "value": metric.best, "run": metric.best_run, "goal": metric.direction}
