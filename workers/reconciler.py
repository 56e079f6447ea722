"""Compares what should be running with what is, and rings. One is active at a time, in any worker."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from pipeline_queue.contract.errors import BrokerError, NotFoundError, PipelineQueueError, StorageError
from pipeline_queue.contract.identity import RunId
from pipeline_queue.contract.ledger import Ledger
from pipeline_queue.contract.storage import Storage
from pipeline_queue.contract.wire import lists_of, run_of
from pipeline_queue.resume import resume_unfinished
from workers.context import SweepCache
from workers.lost_messages import ring_unless_ended
from workers.sweep_ends import look_after

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.5
_TERM_SECONDS = 5.0
_SETTLE_SECONDS = 3.0
"""Workers renew each second, and so tell an emptied server of what they execute."""
_MOST_MESSAGES = 2_000


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
        self._incomplete_since: float | None = None
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
                if self._may_ring() and self._ledger.hold_reconciler(self._name, _TERM_SECONDS):
                    self._fill_emptied_server()
                    for run, step in self._ledger.due():
                        self._ring_or_wait(run, step)
                    look_after(self._ledger, self._storage, self._sweeps)
            except PipelineQueueError as error:
                logger.warning("reconciler waits: %s", error)
            except Exception:
                logger.exception("reconciler waits")

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
        self._ledger.note_complete(filling)
        # Emptied again meanwhile, it is looked at again, after the same time.
        self._incomplete_since = None
        if resumed.runs:
            logger.warning("the server had lost its memory: %d unfinished runs are taken up again", resumed.runs)

    def _ring_or_wait(self, run: RunId, step: str) -> None:
        """One run that cannot be read now must not keep the others from being rung; it is due again in a while."""
        try:
            self._ring(run, step)
        except (StorageError, OSError) as error:
            logger.warning("not rung run=%s step=%s: %s", run, step, error)

    def _ring(self, run: RunId, step: str) -> None:
        """Rings the run from its first unpublished step, or closes it when there is nothing to do."""
        try:
            sweep = self._sweeps.get(run.sweep)
            paths = sweep.paths(self._storage, run)
        except NotFoundError:
            self._ledger.forget_due(run, step)
            self._ledger.forget_run(run)
            return
        if self._is_rung(run, {one.queue for one in sweep.pipeline.steps}):
            return  # no worker has come to it yet: another message would only be one more
        rung = ring_unless_ended(self._ledger, self._storage, sweep, run)
        if not rung or step in paths.names():
            self._ledger.forget_due(run, step)

    def _is_rung(self, run: RunId, queues: set[str]) -> bool:
        """Whether a ring of the run waits in a queue; they lie in the list that is read first."""
        messages = self._ledger.sweeps.queued_messages([lists_of(queue)[0] for queue in queues], _MOST_MESSAGES)
        return messages is not None and any(run_of(message) == run for message in messages)
