"""Sends the task events that Flower shows ten times a second, not at every turn of Celery's loop.

Publishing them was a third of what Celery's main thread did for a short step. Flower lags by at most a tenth of a
second, and a worker that is killed takes that much of its events along. A worker without tasks looks once a second, for
each look is a turn of the loop.
"""

from __future__ import annotations

import threading
from typing import Any

from celery import bootsteps
from celery.worker import state

_INTERVAL_SECONDS = 0.1
_IDLE_SECONDS = 1.0
_MAX_BUFFERED = 500


class EventPacer(bootsteps.StartStopStep):  # type: ignore[misc]
    """A consumer step of Celery's; a consumer is made anew after each lost connection."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        self._is_slow = False

    def start(self, parent: Any) -> None:
        dispatcher = parent.event_dispatcher
        if parent.hub is None or dispatcher is None:
            return
        self._parent = parent
        self._loop_thread = threading.get_ident()
        dispatcher.on_send_buffered = self._hurry
        dispatcher.buffer_limit = _MAX_BUFFERED
        self._plan(_INTERVAL_SECONDS)

    def _plan(self, seconds: float) -> None:
        self._is_slow = seconds > _INTERVAL_SECONDS
        self._timer = self._parent.timer.call_after(seconds, self._flush)

    def _flush(self) -> None:
        try:
            self._parent.event_dispatcher.flush()
        finally:
            self._plan(_INTERVAL_SECONDS if state.reserved_requests else _IDLE_SECONDS)

    def _hurry(self) -> None:
        """An event was noted; a task's first comes in the thread of the loop, the only one that may use its timer."""
        if self._is_slow and self._timer is not None and threading.get_ident() == self._loop_thread:
            self._timer.cancel()
            self._plan(_INTERVAL_SECONDS)

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if parent.event_dispatcher is not None:
            parent.event_dispatcher.flush()
