"""The last minutes of every worker's slots, as one process has seen them: for the strip of the workers' page."""

from __future__ import annotations

import threading
from typing import Any

_MINUTES = 10
_MAX_BARS = 2_000


class Strip:
    """Thread-safe. Knows only what was announced while somebody looked; announcements come every few seconds."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, int, str, str, float], dict[str, Any]] = {}
        self._mutex = threading.Lock()

    def seen(self, cluster: dict[str, Any]) -> list[dict[str, Any]]:
        """Notes the present steps of the answer of `/api/cluster`; returns the bars, oldest first."""
        now = float(cluster["now"])
        with self._mutex:
            present = set()
            for worker in cluster["workers"]:
                for step in worker["steps"]:
                    key = (worker["name"], step["slot"], step["run"], step["step"], step["started_at"])
                    present.add(key)
                    bar = {"worker": key[0], "slot": key[1], "run": key[2], "step": key[3], "started_at": key[4]}
                    self._bars.setdefault(key, {**bar, "ended_at": None, "state": "running"})
            for key, bar in self._bars.items():
                if key in present:
                    bar["ended_at"], bar["state"] = None, "running"
                elif bar["ended_at"] is None:
                    bar["ended_at"], bar["state"] = now, "ended"
            old = now - 60 * _MINUTES
            kept = [(key, bar) for key, bar in self._bars.items() if bar["ended_at"] is None or bar["ended_at"] >= old]
            self._bars = dict(kept[-_MAX_BARS:])
            return [dict(bar) for bar in self._bars.values()]
