"""Decides whether this worker takes messages: it pauses while there is any reason to, and reopens without one."""

from __future__ import annotations

import logging
import threading

from pipeline_queue.contract.wording import counted

logger = logging.getLogger(__name__)

_MAX_DEATHS = 5


class Admission:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds: dict[str, str] = {}
        self._dead: dict[str, None] = {}

    def is_open(self) -> bool:
        return not self._holds

    def is_held(self, key: str) -> bool:
        return key in self._holds

    def reason(self, key: str) -> str:
        """The reason for which `key` holds it, empty when `key` does not."""
        return self._holds.get(key, "")

    def reasons(self) -> list[str]:
        """The reasons why it is closed, in words; empty when it is open."""
        with self._lock:
            return list(self._holds.values())

    def hold(self, key: str, text: str) -> None:
        """Takes no messages until `key` is released; `text` is the reason. Call again to update its figures."""
        with self._lock:
            is_new = key not in self._holds
            self._holds[key] = text
        if is_new:
            logger.warning("take no steps: %s", text)

    def release(self, key: str) -> None:
        with self._lock:
            if self._holds.pop(key, None) is None:
                return
            left = len(self._holds)
        logger.info("release hold=%s%s", key, "" if left else ": take steps again")

    def note_death(self, step: str, why: str) -> None:
        """Counts an infrastructure death of a step here. Several in a row, with no completed step between, pause it."""
        with self._lock:
            self._dead[step] = None
            count = len(self._dead)
        if count >= _MAX_DEATHS:
            steps = counted(count, "step")
            text = f"{steps} in a row died here through no fault of their own; last: {why}; fix that and restart"
            self.hold("deaths", text)

    def note_end(self) -> None:
        """Notes that a step ran to its own end."""
        if self._dead:
            with self._lock:
                self._dead.clear()
