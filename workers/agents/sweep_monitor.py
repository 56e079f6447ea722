"""Looks after the sweeps that have not ended: feeds them, enqueues what got lost, writes down their ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import MetricSpan
from pipeline_queue.contract.records import SweepEnd, SweepEndState
from pipeline_queue.contract.states import FailureGroup
from pipeline_queue.index.run_index import LiveWorker, RunIndex
from pipeline_queue.index.sweep_index import LiveSweep
from pipeline_queue.reporting.sweeps import counts_on_storage, failures_on_storage, metrics_on_storage
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.feeder import feed
from workers.agents.rescuer import Rescuer
from workers.context import SweepCache

logger = logging.getLogger(__name__)


class SweepMonitor:
    """The reconciler's look at sweeps; for one thread, and `run_index` is that thread's own."""

    def __init__(self, run_index: RunIndex, storage: Storage, sweeps: SweepCache) -> None:
        self._run_index = run_index
        self._storage = storage
        self._sweeps = sweeps
        self._lost = Rescuer(run_index, storage, sweeps)

    def look_after_all(self, goes_on: Callable[[], bool]) -> None:
        """One look at every sweep that has not ended, while `goes_on`. Raises BrokerError."""
        workers = self._run_index.workers()
        for name in self._run_index.sweeps.unended():
            if not goes_on():
                return
            try:
                self._look_after(name, workers)
            except (StorageError, OSError) as error:
                # One that cannot be read now must not keep the others waiting.
                logger.warning("passed over sweep=%s: %s", name, error)
        self._lost.enqueue()

    def _look_after(self, name: str, workers: list[LiveWorker]) -> None:
        live = self._run_index.sweeps.read(name)
        try:
            if live is not None and live.ended_at is None:
                self._keep_going(name, live, workers)
                return
            if live is not None and live.total > 1:
                self._sweeps.get(name)
                live = self._counted(name, live)
                failures, metrics = self._failures(name, live), self._metrics(name, live)
                self._storage.end_sweep(end_of(name, live, failures, metrics))
        except NotFoundError:
            for index in self._run_index.sweeps.in_flight(name):
                self._run_index.forget_run(RunId(name, index))
        self._run_index.sweeps.forget_ended(name)

    def _counted(self, name: str, live: LiveSweep) -> LiveSweep:
        """With counts that add up: from the storage when those of the server cannot be true."""
        if live.adds_up:
            return live
        logger.warning("counts do not add up, read from the storage sweep=%s", name)
        counts = counts_on_storage(self._storage, name)
        return replace(live, succeeded=counts["succeeded"], failed=counts["failed"], cancelled=counts["cancelled"])

    def _failures(self, name: str, live: LiveSweep) -> tuple[FailureGroup, ...]:
        """By cause; from the storage when a server that was emptied has forgotten some."""
        if sum(group.count for group in live.causes) == live.failed:
            return live.causes
        return failures_on_storage(self._storage, name)

    def _metrics(self, name: str, live: LiveSweep) -> Mapping[str, MetricSpan]:
        """As of its failures."""
        return live.metrics if live.measured == live.succeeded else metrics_on_storage(self._storage, name)

    def _keep_going(self, name: str, live: LiveSweep, workers: list[LiveWorker]) -> None:
        """Its record is read only when there is something to be done: of thousands that wait, few are kept read."""
        if live.has_more:
            feed(self._run_index, self._storage, self._sweeps.get(name), workers)
        if live.state != "paused" and self._lost.may_be_in(live):
            self._lost.look_at(self._sweeps.get(name))


def end_of(
    name: str,
    live: LiveSweep,
    failures: tuple[FailureGroup, ...] = (),
    metrics: Mapping[str, MetricSpan] = MappingProxyType({}),
) -> SweepEnd:
    """The content of `end.json`."""
    never = live.total - live.succeeded - live.failed - live.cancelled
    state: SweepEndState = "failed" if live.failed else "succeeded"
    if live.state in ("cancelled", "stopped"):
        state = live.state
    return SweepEnd(
        sweep=name,
        state=state,
        total=live.total,
        counts={"succeeded": live.succeeded, "failed": live.failed, "cancelled": live.cancelled + never},
        created_at=live.created_at,
        ended_at=live.ended_at or live.now,
        done_before=live.done_before,
        failures=failures,
        metrics=dict(metrics),
    )
