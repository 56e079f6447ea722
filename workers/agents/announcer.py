"""Announces this worker to the others: at once when its facts change, otherwise every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pipeline_queue.index.run_index import RunIndex

ANNOUNCE_SECONDS = 4.0
"""A worker counts as gone after 15 s, so three announcements may be lost."""
_OF_THE_MOMENT = frozenset({"clock_seconds", "steps"})
"""Facts that differ each time, or with each step, and do not count as a change."""


class Announcer:
    """Announces what `facts` returns, with the number of running steps. For use by one thread."""

    def __init__(
        self, name: str, facts: Callable[[int], dict[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._facts = facts
        self._clock = clock
        self._said: dict[str, Any] = {}
        self._said_at = float("-inf")

    def announce(self, run_index: RunIndex, busy: int) -> None:
        """Announces the worker if this is due. Raises BrokerError; then the next call tries again."""
        facts = self._facts(busy)
        lasting = {key: value for key, value in facts.items() if key not in _OF_THE_MOMENT}
        now = self._clock()
        if lasting == self._said and now - self._said_at < ANNOUNCE_SECONDS:
            return
        run_index.workers.announce(self._name, facts)
        self._said, self._said_at = lasting, now
