"""Compares what should be running with what is, and rings. One is active at a time, in any worker."""

from __future__ import annotations

import logging
import threading

from pipeline_queue.canvas import BEGUN_PRIORITY, ring
from pipeline_queue.contract.errors import InputError, NotFoundError, PipelineQueueError, StorageError
from pipeline_queue.contract.identity import RunId
from pipeline_queue.contract.ledger import Ledger
from pipeline_queue.contract.storage import RUN_END, Storage
from pipeline_queue.contract.wire import list_of
from pipeline_queue.planner import remaining, step_named
from workers.context import SweepCache
from workers.sweep_ends import look_after

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.5
_TERM_SECONDS = 5.0


class Reconciler:
    """`ledger` is this thread's own."""

    def __init__(self, name: str, ledger: Ledger, storage: Storage, sweeps: SweepCache) -> None:
        self._name = name
        self._ledger = ledger
        self._storage = storage
        self._sweeps = sweeps
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            try:
                if self._ledger.hold_reconciler(self._name, _TERM_SECONDS):
                    for run, step in self._ledger.due():
                        self._ring_or_wait(run, step)
                    for run, step in self._ledger.unclaimed():
                        self._ring_or_wait(run, step, only_if_lost=True)
                    look_after(self._ledger, self._storage, self._sweeps)
            except PipelineQueueError as error:
                logger.warning("reconciler waits: %s", error)
            except Exception:
                logger.exception("reconciler waits")

    def _ring_or_wait(self, run: RunId, step: str, only_if_lost: bool = False) -> None:
        """One run that cannot be read now must not keep the others from being rung; it is due again in a while."""
        try:
            if not only_if_lost or self._is_lost(run, step):
                self._ring(run, step)
        except (StorageError, OSError) as error:
            logger.warning("not rung run=%s step=%s: %s", run, step, error)

    def _is_lost(self, run: RunId, step: str) -> bool:
        """Whether a message that nobody claimed is nowhere, rather than behind others in its queue."""
        try:
            queue = step_named(self._sweeps.get(run.sweep).pipeline, step).queue
        except (NotFoundError, InputError):
            return True
        return self._ledger.sweeps.queued_messages([list_of(queue, BEGUN_PRIORITY)]) == 0

    def _ring(self, run: RunId, step: str) -> None:
        """Rings the run from its first unpublished step, or closes it when there is nothing to do."""
        try:
            sweep = self._sweeps.get(run.sweep)
            paths = sweep.paths(self._storage, run)
        except NotFoundError:
            self._ledger.forget_due(run, step)
            self._ledger.forget_run(run)
            return
        names = paths.names()
        todo = remaining(sweep.pipeline, run, sweep.parameters(run), names)
        if todo:
            logger.info("ring run=%s step=%s", run, todo[0].step)
            ring(self._ledger, sweep.pipeline, todo)
        end = paths.end() if RUN_END in names else None
        if end is not None:
            # Whoever wrote it was lost before it could tell the ledger.
            self._ledger.close_run(run, end.state)
        if not todo or todo[0].step != step:
            self._ledger.forget_due(run, step)
