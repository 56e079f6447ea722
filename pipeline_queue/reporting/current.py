"""Reads runs and sweeps as they are now: what has ended from the storage, the rest also from the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline_queue.contract.errors import NotFoundError, StorageAwayError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.runs import read_run, with_wait
from pipeline_queue.reporting.sweep_progress import StepCounter
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, SweepReport, read_sweep
from pipeline_queue.storage.run_store import RunStore


class CurrentState:
    """The runs and sweeps of one storage; `run_index` is None without a broker. Lists leave out what is damaged."""

    def __init__(self, run_index: RunIndex | None) -> None:
        self._run_index = run_index
        self._steps: StepCounter | None = None

    def sweep(self, storage: RunStore, sweep: Sweep) -> SweepReport:
        """Raises BrokerError and StorageError."""
        live = self._run_index.sweeps.read(sweep.record.id) if self._run_index else None
        report = read_sweep(storage, sweep, live)
        if self._run_index is None or live is None or not live.adds_up or report.state in ENDED_SWEEP:
            return report
        if self._steps is None:
            self._steps = StepCounter(self._run_index, storage)
        return self._steps.counted(sweep, live, report)

    def run(self, storage: RunStore, sweep: Sweep, run_id: RunId) -> RunRecord:
        """The paths in the record are absolute. Raises BrokerError and StorageError."""
        ended = sweep.paths(storage, run_id).end() is not None
        live = None if ended or self._run_index is None else self._run_index.run(run_id)
        report = read_run(storage, sweep, run_id, live)
        if ended or self._run_index is None or any(step.state == "running" for step in report.steps):
            return report
        wait = self._run_index.sweeps.shared.wait_of(run_id) if report.state in ("queued", "running") else None
        return with_wait(report, wait) if wait else report

    def runs(self, storage: RunStore) -> Iterator[RunRecord]:
        """Every run, newest sweep first."""
        for sweep in _sweeps(storage):
            for index in range(len(sweep.space)):
                with _without_damaged():
                    yield self.run(storage, sweep, sweep.run_id(index))

    def runs_of(self, storage: RunStore, sweep: Sweep) -> Iterator[RunRecord]:
        """The runs of a sweep that have a folder, by index."""
        for index in sorted(index for index, _ in storage.runs(sweep.record.id)):
            with _without_damaged():
                yield self.run(storage, sweep, sweep.run_id(index))

    def overview(self, storage: RunStore) -> Iterator[RunRecord | SweepReport]:
        """Every sweep, newest first: one of a single run as that run."""
        for sweep in _sweeps(storage):
            with _without_damaged():
                is_run = len(sweep.space) == 1
                yield self.run(storage, sweep, sweep.run_id(0)) if is_run else self.sweep(storage, sweep)


def _sweeps(storage: RunStore) -> Iterator[Sweep]:
    for name in storage.sweeps():
        with _without_damaged(), suppress(NotFoundError):  # never committed
            yield Sweep.read(storage, name)


@contextmanager
def _without_damaged() -> Iterator[None]:
    """Leaves out of a list what is damaged. Raises StorageAwayError: a list would be empty by mistake."""
    try:
        yield
    except StorageAwayError:
        raise
    except StorageError:
        pass
