"""Counts the steps of a sweep that goes on: in flight from the server, shared ones from the storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_queue.index.live_sweeps import LiveSweep
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.step_progress import StepTotals, step_totals
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.sweeps import SweepReport, with_progress
from pipeline_queue.storage.run_store import RunStore

_MAX_REUSED_RUNS = 1000
"""Of a sweep with steps that runs of all sweeps share: each of its runs is asked for the identity of such a step."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What stays the same; `reused`: step with `reuse: always` -> the names of its executions."""

    sweep: str
    totals: StepTotals | None
    reused: Mapping[str, frozenset[str]]


class StepCounter:
    """Remembers what stays the same of the sweep that it was asked for last: whoever watches one asks often."""

    def __init__(self, run_index: RunIndex, storage: RunStore) -> None:
        self._run_index = run_index
        self._storage = storage
        self._known: _Known | None = None

    def counted(self, sweep: Sweep, live: LiveSweep, report: SweepReport) -> SweepReport:
        """The report with its steps counted. Raises BrokerError."""
        if self._known is None or self._known.sweep != sweep.record.id:
            self._known = _known(sweep)
        # Read before what is in flight: whatever is published in between is seen too late, never too early.
        done = self._shared_done(self._known) if self._known.totals else {}
        progress = self._run_index.sweeps.progress(sweep.record.id)
        slots = sum(worker.slots for worker in self._run_index.workers.live() if not worker.holds)
        return with_progress(report, self._known.totals, live, progress, done, slots)

    def _shared_done(self, known: _Known) -> dict[str, int]:
        """Step that runs share -> how many of its executions are published."""
        # None when nothing is published yet.
        done = Counter(name.rpartition("-")[0] for name in self._storage.shared_steps(known.sweep))
        for step, names in known.reused.items():
            done[step] = sum(self._storage.reused_step(name).is_published() for name in names)
        return dict(done)


def _known(sweep: Sweep) -> _Known:
    always = [step.name for step in sweep.pipeline.steps if step.reuse == "always"]
    if always and len(sweep.space) > _MAX_REUSED_RUNS:
        return _Known(sweep.record.id, None, {})
    runs = [sweep.run_id(index) for index in range(len(sweep.space))] if always else []
    reused = {step: frozenset(f"{step}-{sweep.shared_step_key(step, run)}" for run in runs) for step in always}
    return _Known(sweep.record.id, step_totals(sweep.pipeline, sweep.space), reused)
