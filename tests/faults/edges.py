"""Workers that meet their edges, seen from the lab: how often each did, and machines that are paused there."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.play import Played
from tests.limits import join_all

_LOOK_SECONDS = 0.02


def edges_hit(lab: Lab, _: Played) -> Look:
    assert lab.plan.edges is not None
    found = Counter(path.name.rpartition(".")[0] for path in _hits(lab.edge_hits))
    wanted = lab.plan.edges.times
    seldom = [
        f"edge '{edge.name}' was met {found[edge.name]} times, not {wanted}"
        for edge in lab.plan.edges.edges
        if found[edge.name] < wanted
    ]
    return Look(short=seldom, notes=[f"{edge.name}: {found[edge.name]}" for edge in lab.plan.edges.edges])


def pause_machines(lab: Lab, _: int) -> Callable[[], Look]:
    """A worker that stopped itself takes its whole machine with it, which goes on later."""
    assert lab.plan.edges is not None
    pauser = _Pauser(lab, lab.plan.edges.pause_seconds)
    pauser.start()
    return pauser.stop


class _Pauser(threading.Thread):
    def __init__(self, lab: Lab, seconds: float) -> None:
        super().__init__(name="pauser", daemon=True)
        self._lab = lab
        self._seconds = seconds
        self._seen: set[Path] = set()
        self._asleep: dict[str, float] = {}
        self._stopping = threading.Event()

    def stop(self) -> Look:
        """Those that are paused now go on at once: whatever they write then is late."""
        self._stopping.set()
        join_all([self])
        self._wake(float("inf"))
        return Look(notes=[f"{len(self._seen)} pauses of {self._seconds:.0f} s"])

    def run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            for hit in _hits(self._lab.edge_hits):
                if hit not in self._seen and (name := hit.read_text()):
                    self._seen.add(hit)
                    self._lab.machines[name].pause()
                    self._asleep[name] = time.monotonic() + self._seconds
            self._wake(time.monotonic())

    def _wake(self, now: float) -> None:
        for name in [name for name, until in self._asleep.items() if until <= now]:
            del self._asleep[name]
            self._lab.machines[name].unpause()


def _hits(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
