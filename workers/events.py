"""Sends the task events that Flower shows ten times a second, not at every turn of Celery's loop.

Publishing them was a third of what Celery's main thread did for a short step. Flower lags by at most a tenth of a
second, and a worker that is killed takes that much of its events along.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps

_INTERVAL_SECONDS = 0.1
_MAX_BUFFERED = 500


class EventPacer(bootsteps.StartStopStep):  # type: ignore[misc]
    """A consumer step of Celery's; a consumer is made anew after each lost connection."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        dispatcher = parent.event_dispatcher
        if parent.hub is None or dispatcher is None:
            return
        dispatcher.on_send_buffered = None
        dispatcher.buffer_limit = _MAX_BUFFERED
        self._timer = parent.timer.call_repeatedly(_INTERVAL_SECONDS, dispatcher.flush)

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if parent.event_dispatcher is not None:
            parent.event_dispatcher.flush()
