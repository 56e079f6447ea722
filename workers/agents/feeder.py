"""Keeps the windows of sweeps full, in a thread of its own, so that steps do not wait for it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence

from pipeline_queue.broker.message import StepMessage
from pipeline_queue.contract.errors import PipelineQueueError
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.worker_registry import LiveWorker
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.submitting.canvas import enqueue_begun
from pipeline_queue.submitting.feeder import feed
from workers.context import SweepCache

logger = logging.getLogger(__name__)

_WORKERS_SECONDS = 2.0

_Chains = tuple[Pipeline, Sequence[Sequence[StepMessage]]]


class Feeder:
    """The feeding thread; no other thread uses its `run_index`."""

    def __init__(self, run_index: RunIndex, storage: RunStore, sweeps: SweepCache) -> None:
        self._run_index = run_index
        self._storage = storage
        self._sweeps = sweeps
        self._wanted: queue.SimpleQueue[str | _Chains | None] = queue.SimpleQueue()
        self._workers: list[LiveWorker] = []
        self._workers_at = 0.0
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._wanted.put(None)
        self._thread.join(timeout=10)

    def poke(self, sweep: str) -> None:
        """Tells the feeder that the sweep may have room in its window."""
        self._wanted.put(sweep)

    def enqueue(self, pipeline: Pipeline, chains: Sequence[Sequence[StepMessage]]) -> None:
        """Has the chains of runs that have started enqueued."""
        self._wanted.put((pipeline, chains))

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            try:
                if isinstance(wanted, str):
                    feed(self._run_index, self._storage, self._sweeps.get(wanted), self._live())
                else:
                    enqueue_begun(self._run_index, *wanted)
            except PipelineQueueError as error:
                # The reconciler checks every sweep again, and enqueues parked runs after a while.
                logger.warning("skip feeding: %s", error)
            except Exception:
                logger.exception("abort feeding")

    def _live(self) -> list[LiveWorker]:
        if time.monotonic() - self._workers_at > _WORKERS_SECONDS:
            self._workers = self._run_index.workers.live()
            self._workers_at = time.monotonic()
        return self._workers
