"""Looks after unfinished sweeps: feeds them, enqueues their lost runs and records their ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import MetricSpan
from pipeline_queue.contract.records import SweepEnd, SweepEndState
from pipeline_queue.contract.states import FailureGroup
from pipeline_queue.index.live_sweeps import LiveSweep
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.worker_registry import LiveWorker
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.sweeps import Ends, read_ends
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.submitting.feeder import feed
from pipeline_queue.submitting.recovery import restore_sweep
from workers.agents.rescuer import Rescuer
from workers.context import SweepCache

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 3.0
"""The wait before a sweep is restored: workers renew leases each second, so the index learns what they execute."""


class SweepMonitor:
    """The reconciler's part that checks sweeps. For use by one thread; no other thread uses its `run_index`."""

    def __init__(self, run_index: RunIndex, storage: RunStore, sweeps: SweepCache) -> None:
        self._run_index = run_index
        self._storage = storage
        self._sweeps = sweeps
        self._lost = Rescuer(run_index, storage, sweeps)
        self._unknown_since: dict[str, float] = {}

    def look_after_all(self, goes_on: Callable[[], bool]) -> None:
        """Checks every unfinished sweep once, while `goes_on` returns True. Raises BrokerError."""
        workers = self._run_index.workers.live()
        unended = self._run_index.sweeps.unended()
        self._unknown_since = {name: at for name, at in self._unknown_since.items() if name in unended}
        for name in unended:
            if not goes_on():
                return
            try:
                self._look_after(name, workers)
            except (StorageError, OSError) as error:
                # A sweep that cannot be read now must not block the others.
                logger.warning("skip sweep=%s: %s", name, error)
        self._lost.enqueue()

    def _look_after(self, name: str, workers: list[LiveWorker]) -> None:
        live = self._run_index.sweeps.read(name)
        try:
            if live is None:
                if self._is_settled(name):
                    self._restore(name)
                return
            if live.ended_at is None:
                self._keep_going(name, live, workers)
                return
            if not self._write_end(name, live):
                return
        except NotFoundError:
            for index in self._run_index.sweeps.in_flight(name):
                self._run_index.forget_run(RunId(name, index))
        self._run_index.sweeps.forget_ended(name)

    def _is_settled(self, name: str) -> bool:
        """Whether the sweep has been unknown here, or without progress, for long enough to restore it."""
        return time.monotonic() - self._unknown_since.setdefault(name, time.monotonic()) >= _SETTLE_SECONDS

    def _restore(self, name: str) -> None:
        """Restores a sweep in the index from the storage, unless it has ended there. Raises NotFoundError."""
        self._unknown_since.pop(name, None)
        count = restore_sweep(self._run_index, self._storage, self._sweeps.get(name))
        if count:
            logger.warning("restore sweep=%s runs=%d: its index was lost or could not be true", name, count)
        elif self._run_index.sweeps.read(name) is None:
            self._run_index.sweeps.forget_ended(name)

    def _write_end(self, name: str, live: LiveSweep) -> bool:
        """Writes the sweep's end. If the storage shows no such end, restores the sweep instead and returns False."""
        sweep = self._sweeps.get(name)
        if len(sweep.space) == 1:
            has_ended = sweep.paths(self._storage, sweep.run_id(0)).end() is not None
        else:
            ends = cache(lambda: read_ends(self._storage, name))  # read at most once, and only if the server lacks some
            if has_ended := (counted := self._counted(sweep, live, ends)) is not None:
                self._storage.end_sweep(end_of(name, counted, _failures(counted, ends), _metrics(counted, ends)))
        if not has_ended:
            self._run_index.sweeps.forget(name, "it has not ended on the storage")
        return has_ended

    def _counted(self, sweep: Sweep, live: LiveSweep, ends: Callable[[], Ends]) -> LiveSweep | None:
        """The sweep with consistent counts: from the storage when the server's counts cannot be right.

        None when the storage shows that the sweep has not ended.
        """
        name, total, allowed = sweep.record.id, len(sweep.space), sweep.failures_allowed()
        is_cancelled = live.state == "cancelled" and self._storage.is_cancelled(name)
        is_stopped = live.state == "stopped" and allowed is not None and live.failed > allowed
        is_whole = is_cancelled or is_stopped or live.succeeded + live.failed + live.cancelled == total
        if live.adds_up and live.total == total and is_whole:
            return live
        logger.warning("read counts from storage sweep=%s: they did not add up", name)
        counts = ends().counts
        is_stopped = allowed is not None and counts["failed"] > allowed
        # Runs that a retry left out have no end in the storage.
        is_whole = sum(counts.values()) == total or self._storage.retry_choice(name) is not None
        if not (is_cancelled or is_stopped or is_whole):
            return None
        succeeded, failed, cancelled = counts["succeeded"], counts["failed"], counts["cancelled"]
        return replace(live, total=total, succeeded=succeeded, failed=failed, cancelled=cancelled)

    def _keep_going(self, name: str, live: LiveSweep, workers: list[LiveWorker]) -> None:
        """Keeps a sweep going. Reads its record only if there is work: of thousands that wait, few stay in memory."""
        if not live.adds_up or live.stands_still:
            if self._is_settled(name):
                self._run_index.sweeps.forget(name, "it does not add up, or nothing would end it")
                self._restore(name)
            return
        self._unknown_since.pop(name, None)
        if live.has_more:
            feed(self._run_index, self._storage, self._sweeps.get(name), workers)
        if live.state != "paused" and self._lost.may_be_in(live):
            self._lost.look_at(self._sweeps.get(name))


def _failures(live: LiveSweep, ends: Callable[[], Ends]) -> tuple[FailureGroup, ...]:
    """The failures by cause, from the storage if the server was flushed and has forgotten some."""
    return live.causes if sum(group.count for group in live.causes) == live.failed else ends().failures


def _metrics(live: LiveSweep, ends: Callable[[], Ends]) -> Mapping[str, MetricSpan]:
    """The metrics, from the storage in the same case as the failures."""
    return live.metrics if live.measured == live.succeeded else ends().metrics


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
