"""What the product counts of a sweep while faults are played, and at its end: numbers that can be true."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from pipeline_queue.client import Client
from pipeline_queue.contract.errors import PipelineQueueError
from pipeline_queue.contract.settings import Settings
from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.play import Played
from tests.limits import join_all

_LOOK_SECONDS = 0.2
_END_SECONDS = 60.0
_MAX_SHOWN = 3


def watch_counts(lab: Lab, _: int = 0) -> Callable[[], Look]:
    """Reads them again and again; what it gives ends that, and says what was wrong."""
    watch = _Watch(lab)
    watch.start()
    return watch.stop


class _Watch(threading.Thread):
    def __init__(self, lab: Lab) -> None:
        super().__init__(name="counts", daemon=True)
        self._lab = lab
        self._untrue: list[str] = []
        self._read = self._without = 0
        self._stopping = threading.Event()

    def stop(self) -> Look:
        self._stopping.set()
        join_all([self])
        red = [f"counts: {len(self._untrue)} untrue ({'; '.join(self._untrue[:_MAX_SHOWN])})"] if self._untrue else []
        return Look(red=red, notes=[f"counts were read {self._read} times, {self._without} times without a broker"])

    def run(self) -> None:
        lab = self._lab
        while not self._stopping.wait(_LOOK_SECONDS):
            sweeps = list((lab.storage / "sweeps").glob("*/sweep.json"))
            try:
                with Client(lab.storage, Settings(lab.server.url, lab.storage, lab.folder)) as client:
                    for path in sweeps:
                        self._look(client, path.parent.name)
            except PipelineQueueError:
                self._without += 1

    def _look(self, client: Client, sweep: str) -> None:
        report = client.sweep(sweep)
        self._read += 1
        if min(report.counts.values()) < 0 or sum(report.counts.values()) != report.total:
            self._untrue.append(f"{report.counts} of {report.total}")


def counted_at_the_end(lab: Lab, played: Played) -> Look:
    """Whether `end.json` says that all runs succeeded."""
    look, wanted = Look(), {"succeeded": played.evidence.runs, "failed": 0, "cancelled": 0}
    for record in (lab.storage / "sweeps").glob("*/sweep.json"):
        end = _end(record.parent)
        if end is None:
            look.red.append(f"sweep {record.parent.name} has not ended {_END_SECONDS:.0f} s after its last run")
        elif end["counts"] != wanted:
            look.red.append(f"sweep {record.parent.name} ended as {end['counts']}")
    return look


def _end(folder: Any) -> Any:
    until = time.monotonic() + _END_SECONDS
    while time.monotonic() < until:
        if (folder / "end.json").exists():
            return json.loads((folder / "end.json").read_text())
        time.sleep(_LOOK_SECONDS)
    return None
