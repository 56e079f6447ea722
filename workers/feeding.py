"""Keeps the windows of sweeps full, from a thread of its own, off the way of the steps."""

from __future__ import annotations

import logging
import queue
import threading
import time

from celery import Celery

from pipeline_queue.contract.errors import PipelineQueueError
from pipeline_queue.contract.ledger import Ledger, LiveWorker
from pipeline_queue.feeder import feed
from workers.context import SweepCache

logger = logging.getLogger(__name__)

_WORKERS_SECONDS = 2.0


class Feeder:
    """`ledger` is this thread's own."""

    def __init__(self, app: Celery, ledger: Ledger, sweeps: SweepCache) -> None:
        self._app = app
        self._ledger = ledger
        self._sweeps = sweeps
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._workers: list[LiveWorker] = []
        self._workers_at = 0.0
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._wanted.put(None)
        self._thread.join(timeout=10)

    def poke(self, sweep: str) -> None:
        """The sweep may have room in its window."""
        self._wanted.put(sweep)

    def _run(self) -> None:
        while (sweep := self._wanted.get()) is not None:
            for name in {sweep, *self._rest()}:
                try:
                    feed(self._app, self._ledger, self._sweeps.get(name), self._live())
                except PipelineQueueError as error:
                    # The reconciler looks after every sweep again.
                    logger.warning("not fed sweep=%s: %s", name, error)
                except Exception:
                    logger.exception("not fed sweep=%s", name)

    def _rest(self) -> set[str]:
        """Whatever else was asked for meanwhile: one look for all of it."""
        names: set[str] = set()
        while True:
            try:
                name = self._wanted.get_nowait()
            except queue.Empty:
                return names
            if name is None:
                self._wanted.put(None)
                return names
            names.add(name)

    def _live(self) -> list[LiveWorker]:
        if time.monotonic() - self._workers_at > _WORKERS_SECONDS:
            self._workers = self._ledger.workers()
            self._workers_at = time.monotonic()
        return self._workers
