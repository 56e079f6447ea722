"""Compares what should be running with what is, and rings. One is active at a time, in any worker."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from pipeline_queue.broker.celery_message import list_of
from pipeline_queue.contract.errors import BrokerError, NotFoundError, PipelineQueueError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.run_index import Ledger
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.canvas import BEGUN_PRIORITY
from pipeline_queue.submitting.recovery import resume_unfinished, take_up
from workers.agents.rescuer import Queued, ring_unless_ended
from workers.agents.sweep_monitor import Lookout
from workers.context import SweepCache

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.5
_TERM_SECONDS = 5.0
_EXTEND_SECONDS = 1.0
_SUBMIT_SECONDS = 20.0
_SETTLE_SECONDS = 3.0
"""Workers renew each second, and so tell an emptied server of what they execute."""


class Reconciler:
    """`ledger` is this thread's own."""

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        storage: Storage,
        sweeps: SweepCache,
        may_ring: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_ring`: not while this worker takes no steps, for others may be in the same trouble."""
        self._name = name
        self._ledger = ledger
        self._storage = storage
        self._sweeps = sweeps
        self._lookout = Lookout(ledger, storage, sweeps)
        self._incomplete_since: float | None = None
        self._held_at = 0.0
        self._may_ring = may_ring
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)
        with contextlib.suppress(BrokerError):
            self._ledger.leave_reconciler(self._name)

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            try:
                if not self._is_active():
                    self._incomplete_since = None
                    continue
                self._fill_emptied_server()
                self._ring_due()
                self._start_submitted()
                self._lookout.look_after_all(self._goes_on)
            except PipelineQueueError as error:
                logger.warning("reconciler waits: %s", error)
            except Exception:
                logger.exception("reconciler waits")

    def _is_active(self) -> bool:
        self._held_at = time.monotonic()
        return self._may_ring() and self._ledger.hold_reconciler(self._name, _TERM_SECONDS)

    def _goes_on(self) -> bool:
        """Whether this one is still the active one, in a look that takes long."""
        if self._stopping.is_set():
            return False
        return time.monotonic() - self._held_at < _EXTEND_SECONDS or self._is_active()

    def _fill_emptied_server(self) -> None:
        """Takes every unfinished sweep up again when the server was emptied, or restarted and may lack its last writes.

        Safe to be done by two at once, and again after this worker was lost on the way.
        """
        if self._ledger.is_complete():
            self._incomplete_since = None
            return
        now = time.monotonic()
        if self._incomplete_since is None:
            self._incomplete_since = now
        if now - self._incomplete_since < _SETTLE_SECONDS:
            return
        filling = self._ledger.begin_filling()
        resumed = resume_unfinished(self._storage, self._ledger)
        if not resumed.failed:
            self._ledger.note_complete(filling)
        # Emptied again meanwhile, or not filled whole, it is looked at again after the same time.
        self._incomplete_since = None
        if resumed.runs:
            logger.warning("the server had lost its memory: %d unfinished runs are taken up again", resumed.runs)

    def _start_submitted(self) -> None:
        """Takes up what a submitter committed and could not make known any more."""
        for name in self._ledger.sweeps.submissions_before(self._ledger.time() - _SUBMIT_SECONDS):
            try:
                count = take_up(self._ledger, self._storage, self._sweeps.get(name))
                logger.warning("its submitter was lost sweep=%s: %d runs are taken up", name, count)
            except NotFoundError:
                pass  # lost before the commit point: it does not exist
            except (StorageError, OSError) as error:
                logger.warning("not taken up sweep=%s: %s", name, error)
                continue
            self._ledger.sweeps.forget_submission(name)

    def _ring_due(self) -> None:
        queued = Queued(self._ledger)
        for run, step in self._ledger.due():
            # All of them, for they are put off: what is not rung now waits again.
            self._ring_or_wait(run, step, queued)
            self._goes_on()

    def _ring_or_wait(self, run: RunId, step: str, queued: Queued) -> None:
        """One run that cannot be read now must not keep the others from being rung; it is due again in a while."""
        try:
            self._ring(run, step, queued)
        except (StorageError, OSError) as error:
            logger.warning("not rung run=%s step=%s: %s", run, step, error)

    def _ring(self, run: RunId, step: str, queued: Queued) -> None:
        """Rings the run from its first unpublished step, or closes it when there is nothing to do."""
        try:
            sweep = self._sweeps.get(run.sweep)
            paths = sweep.paths(self._storage, run)
        except NotFoundError:
            self._ledger.forget_due(run, step)
            self._ledger.forget_run(run)
            return
        lists = _lists_of_rings(sweep)
        if queued.has(run, lists):
            return  # no worker has come to it yet: another message would only be one more
        rung = ring_unless_ended(self._ledger, self._storage, sweep, run)
        if rung:
            queued.add(run, lists[0])
        if not rung or step in paths.names():
            self._ledger.forget_due(run, step)


def _lists_of_rings(sweep: Sweep) -> list[str]:
    """The Redis lists in which a ring of one of its runs may wait: of each queue the one that is read first."""
    return sorted({list_of(step.queue, BEGUN_PRIORITY) for step in sweep.pipeline.steps})
