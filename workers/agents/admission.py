"""Whether this worker takes messages, and if not, why: paused for reasons, open again once there is none."""

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
        """Why it is held by `key`, empty when it is not."""
        return self._holds.get(key, "")

    def reasons(self) -> list[str]:
        """Why it is closed, in words; empty when it is open."""
        with self._lock:
            return list(self._holds.values())

    def hold(self, key: str, text: str) -> None:
        """Takes nothing until `key` is released; `text` says why, and may be said anew with other figures."""
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
        """A step died here of infrastructure. Several in a row, with none that ran to its end, and nothing is taken."""
        with self._lock:
            self._dead[step] = None
            count = len(self._dead)
        if count >= _MAX_DEATHS:
            steps = counted(count, "step")
            text = f"{steps} in a row died here through no fault of their own; last: {why}; fix that and restart"
            self.hold("deaths", text)

    def note_end(self) -> None:
        """A step ran to its own end."""
        if self._dead:
            with self._lock:
                self._dead.clear()
