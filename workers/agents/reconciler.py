"""Enqueues runs that should be running but are not: expired leases, due retries. One worker's reconciler is active."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from pipeline_queue.broker.message import list_of
from pipeline_queue.contract.errors import BrokerError, NotFoundError, PipelineQueueError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.submitting.canvas import BEGUN_PRIORITY
from pipeline_queue.submitting.recovery import recover_unfinished, restore_sweep
from workers.agents.rescuer import Queued, enqueue_unless_ended
from workers.agents.sweep_monitor import SweepMonitor
from workers.context import SweepCache

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.5
_IDLE_SECONDS = 3.0
"""The time between two rounds on a server without work. A worker that receives a message starts a round sooner."""
_TERM_SECONDS = 5.0
_EXTEND_SECONDS = 1.0
_SUBMIT_SECONDS = 20.0
_SETTLE_SECONDS = 3.0
"""Workers renew their leases each second; within this time a flushed server learns what they execute."""


class Reconciler:
    """The reconciling thread; no other thread uses its `run_index`."""

    def __init__(
        self,
        name: str,
        run_index: RunIndex,
        storage: RunStore,
        sweeps: SweepCache,
        may_enqueue: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_enqueue` returns False while this worker takes no steps: other workers may have the same trouble."""
        self._name = name
        self._run_index = run_index
        self._storage = storage
        self._sweeps = sweeps
        self._sweep_monitor = SweepMonitor(run_index, storage, sweeps)
        self._incomplete_since: float | None = None
        self._held_at = 0.0
        self._may_enqueue = may_enqueue
        self._is_idle = False
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout=10)
        with contextlib.suppress(BrokerError):
            self._run_index.server.leave_reconciler(self._name)

    def wake(self) -> None:
        """Starts a round now, because there is work, instead of waiting for the next one of an idle worker."""
        self._woken.set()

    def _run(self) -> None:
        while self._wait():
            try:
                self._is_idle = not self._has_work()
                if self._is_idle:
                    self._incomplete_since = None
                    continue
                if not self._is_active():
                    self._incomplete_since = None
                    continue
                self._fill_emptied_server()
                self._enqueue_due()
                self._start_submitted()
                self._sweep_monitor.look_after_all(self._goes_on)
            except PipelineQueueError as error:
                logger.warning("skip reconciliation: %s", error)
            except Exception:
                logger.exception("abort reconciliation")

    def _wait(self) -> bool:
        """Waits for the next round; False when there will be none."""
        if self._is_idle:
            self._woken.wait(_IDLE_SECONDS - _INTERVAL_SECONDS)
        self._woken.clear()
        return not self._stopping.wait(_INTERVAL_SECONDS)

    def _has_work(self) -> bool:
        """Whether a round could find any work. Every idle worker calls this, even if its reconciler is not active."""
        return self._run_index.server.has_work() or not self._run_index.server.is_complete()

    def _is_active(self) -> bool:
        self._held_at = time.monotonic()
        return self._may_enqueue() and self._run_index.server.hold_reconciler(self._name, _TERM_SECONDS)

    def _goes_on(self) -> bool:
        """Whether this reconciler is still the active one, for rounds that take long."""
        if self._stopping.is_set():
            return False
        return time.monotonic() - self._held_at < _EXTEND_SECONDS or self._is_active()

    def _fill_emptied_server(self) -> None:
        """Restores every unfinished sweep after the server was flushed, or restarted and may lack its last writes.

        Two workers may do this at once, and another worker may repeat it if this one dies half-way.
        """
        if self._run_index.server.is_complete():
            self._incomplete_since = None
            return
        now = time.monotonic()
        if self._incomplete_since is None:
            self._incomplete_since = now
        if now - self._incomplete_since < _SETTLE_SECONDS:
            return
        filling = self._run_index.server.begin_filling()
        recovered = recover_unfinished(self._storage, self._run_index)
        if not recovered.failed:
            self._run_index.server.note_complete(filling)
        # If the server was flushed again meanwhile, or is not filled completely, it is checked again after this time.
        self._incomplete_since = None
        if recovered.runs:
            logger.warning("restore runs=%d: the server had lost its memory", recovered.runs)

    def _start_submitted(self) -> None:
        """Restores sweeps that a submitter committed but could no longer write to the index."""
        for name in self._run_index.sweeps.submissions_before(self._run_index.time() - _SUBMIT_SECONDS):
            try:
                count = restore_sweep(self._run_index, self._storage, self._sweeps.get(name))
                logger.warning("restore sweep=%s runs=%d: its submitter was lost", name, count)
            except NotFoundError:
                pass  # its submitter died before the commit point: the sweep does not exist
            except (StorageError, OSError) as error:
                logger.warning("skip restore sweep=%s: %s", name, error)
                continue
            self._run_index.sweeps.forget_submission(name)

    def _enqueue_due(self) -> None:
        queued = Queued(self._run_index)
        for run, step in self._run_index.due():
            # Handle all of them: they were postponed, so a run that is not enqueued now waits once more.
            self._enqueue_or_wait(run, step, queued)
            self._goes_on()

    def _enqueue_or_wait(self, run: RunId, step: str, queued: Queued) -> None:
        """Enqueues one run. If it cannot be read now, it is due again in a while and does not block the others."""
        try:
            self._enqueue(run, step, queued)
        except (StorageError, OSError) as error:
            logger.warning("skip enqueue run=%s step=%s: %s", run, step, error)

    def _enqueue(self, run: RunId, step: str, queued: Queued) -> None:
        """Enqueues the run from its first unpublished step, or closes it when there is nothing to do."""
        try:
            sweep = self._sweeps.get(run.sweep)
            paths = sweep.paths(self._storage, run)
        except NotFoundError:
            self._run_index.forget_due(run, step)
            self._run_index.forget_run(run)
            return
        if not sweep.pipeline.has(step):
            self._run_index.forget_due(run, step)
            return
        lists = _lists_of_messages(sweep)
        if queued.has(run, lists):
            return  # no worker has received its message yet: another one would be a duplicate
        enqueued = enqueue_unless_ended(self._run_index, self._storage, sweep, run)
        if enqueued:
            queued.add(run, lists[0])
        if not enqueued or step in paths.names():
            self._run_index.forget_due(run, step)


def _lists_of_messages(sweep: Sweep) -> list[str]:
    """The Redis lists in which a message of one of the sweep's runs may wait: per queue the list that is read first."""
    return sorted({list_of(step.queue, BEGUN_PRIORITY) for step in sweep.pipeline.steps})
