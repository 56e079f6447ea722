"""What the workers execute now, what waits in the queues, and whether all is well: for the page of the cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline_queue import __version__
from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.contract.wording import counted
from pipeline_queue.index.backend import Backend
from pipeline_queue.index.worker_registry import LiveWorker
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.reporting.doctor import Check, examine
from pipeline_queue.storage.run_store import RunStore

_CHECKS_SECONDS = 5
"""The checks write to the storage, and a page asks every second while steps run."""
_MAX_READING_SECONDS = 2.0
"""Of the records of sweeps that were not read before; the next call continues."""

Light = Literal["ok", "warn", "fail"]
_WORST_FIRST: tuple[Light, ...] = ("fail", "warn", "ok")


@dataclass(frozen=True, slots=True)
class QueueReport:
    """One queue: the messages that wait in it, and the live workers that serve it, with all their slots."""

    name: str
    waiting: int
    served_by: int
    slots: int


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """Everything at one moment: `now`, in Unix seconds by Redis' clock."""

    workers: tuple[LiveWorker, ...]
    queues: tuple[QueueReport, ...]
    checks: tuple[Check, ...]
    now: float

    @property
    def light(self) -> Light:
        """The state of the worst check."""
        states = {check.state for check in self.checks}
        return next((state for state in _WORST_FIRST if state in states), "ok")

    def as_json(self) -> dict[str, Any]:
        return {
            "workers": [_worker_json(worker) for worker in self.workers],
            "queues": [asdict(queue) for queue in self.queues],
            "checks": [{"name": one.name, "state": one.state, "detail": one.detail} for one in self.checks],
            "light": self.light,
            "now": self.now,
        }


class ClusterReader:
    """Reads the cluster of one broker; remembers for a few seconds what the checks found, and what never changes.

    Thread-safe: at worst, two threads read the same.
    """

    def __init__(self, backend: Backend, writes: bool = True) -> None:
        """`writes`: whether this process must be able to write to the storage."""
        self._backend = backend
        self._writes = writes
        self._checks: tuple[Check, ...] = ()
        self._checked_at = float("-inf")
        self._queues: dict[str, frozenset[str]] = {}

    def read(self) -> ClusterReport:
        """The cluster now; its checks may be 5 s old. Raises BrokerError and StorageError."""
        run_index = self._backend.live()
        workers = run_index.workers.live()
        served = {queue for worker in workers for queue in worker.queues}
        backlogs = run_index.workers.backlogs.waiting(served | self._queues_of(run_index.sweeps.unended()))
        return cluster_of(workers, backlogs, self._examined(), run_index.time())

    def _examined(self) -> tuple[Check, ...]:
        """The checks of `doctor`."""
        if time.monotonic() - self._checked_at >= _CHECKS_SECONDS:
            settings = self._backend.settings
            is_embedded = settings is not None and settings.environments is not None
            self._checks = tuple(examine(settings, self._backend.root, is_embedded, writes=self._writes))
            self._checked_at = time.monotonic()
        return self._checks

    def _queues_of(self, sweeps: Sequence[str]) -> set[str]:
        """The queues that these sweeps use, without those of sweeps that cannot be read now."""
        until = time.monotonic() + _MAX_READING_SECONDS
        known: dict[str, frozenset[str]] = {}
        for sweep in sweeps:
            queues = self._queues.get(sweep)
            if queues is None and time.monotonic() < until:
                queues = _queues_of(self._backend.readable(), sweep)
            if queues is not None:
                known[sweep] = queues
        self._queues = known
        return {queue for queues in known.values() for queue in queues}


def cluster_of(
    workers: Sequence[LiveWorker], backlogs: Mapping[str, int | None], checks: Sequence[Check], now: float
) -> ClusterReport:
    """`backlogs`: queue -> the number of its messages, None where that cannot be read. `checks`: those of `doctor`.

    Lists the queues that a worker serves or in which a message waits, and adds a check for each queue that needs
    attention.
    """
    queues = []
    found = list(checks)
    for name in sorted({*backlogs, *(queue for worker in workers for queue in worker.queues)}):
        serving = [worker for worker in workers if name in worker.queues]
        waiting = backlogs.get(name, 0)
        if waiting is None:
            found.append(Check(f"queue {name}", "warn", "the broker does not tell how many runs wait"))
        elif waiting and not serving:
            wait = "waits" if waiting == 1 else "wait"
            found.append(Check(f"queue {name}", "fail", f"{counted(waiting, 'run')} {wait}, no worker serves it"))
        if waiting or serving:
            slots = sum(worker.slots for worker in serving)
            queues.append(QueueReport(name, waiting or 0, len(serving), slots))
    return ClusterReport(tuple(workers), tuple(queues), tuple(found), now)


def _worker_json(worker: LiveWorker) -> dict[str, Any]:
    return {
        "name": worker.name,
        # An older worker does not tell its host, but is named after it.
        "host": worker.host or worker.name.rpartition("@")[2],
        "queues": list(worker.queues),
        "slots": worker.slots,
        "busy": worker.busy,
        "version": worker.version,
        "same_version": worker.version == __version__,
        "clock_seconds": worker.clock_seconds,
        "holds": list(worker.holds),
        "notes": list(worker.notes),
        "warm": asdict(worker.warm) if worker.warm != WarmPython() else None,
        "idle": worker.idle.as_json(),
        "seen_seconds_ago": worker.seen_seconds_ago,
        "steps": [asdict(step) for step in worker.steps],
    }


def _queues_of(storage: RunStore, sweep: str) -> frozenset[str] | None:
    """Of a sweep's pipeline, which never changes; None when it cannot be read now."""
    try:
        pipeline = Pipeline.from_json(storage.read_sweep(sweep).pipeline)
    except (NotFoundError, StorageError, ValueError):
        return None
    return frozenset(step.queue for step in pipeline.steps)
