"""What one worker process holds for all its attempts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from pipeline_queue.broker.message import StepMessage
from pipeline_queue.contract.settings import DEFAULT_KEEP_TOTAL_BYTES
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.submitted_environment import EnvironmentFolder
from workers.agents.admission import Admission
from workers.agents.disk_monitor import DiskMonitor
from workers.agents.lease_keeper import LeaseKeeper
from workers.executor import Executor
from workers.host_health import HostHealth
from workers.workspace import Workspaces

_MAX_SWEEPS, _MIN_SWEEPS = 64, 4
# On the disk; in memory a list of points is about four times as long.
_MAX_BYTES = 32 * 2**20


class SweepCache:
    """The records of the sweeps in work, read once each: an accepted sweep never changes.

    Those used last are kept: up to 64, of large ones fewer.
    """

    def __init__(self, storage: RunStore) -> None:
        self._storage = storage
        self._sweeps: OrderedDict[str, tuple[Sweep, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, sweep: str) -> Sweep:
        """Raises NotFoundError when there is no such sweep."""
        with self._lock:
            if sweep in self._sweeps:
                self._sweeps.move_to_end(sweep)
                return self._sweeps[sweep][0]
        read = Sweep.read(self._storage, sweep)
        size = self._storage.sweep_bytes(sweep)
        with self._lock:
            self._sweeps[sweep] = read, size
            while self._is_too_much():
                self._sweeps.popitem(last=False)
        return read

    def _is_too_much(self) -> bool:
        held = sum(size for _, size in self._sweeps.values())
        return len(self._sweeps) > (_MIN_SWEEPS if held > _MAX_BYTES else _MAX_SWEEPS)


@dataclass(frozen=True)
class WorkerContext:
    """`name` is the worker's node name, as Flower shows it; `refuse` keeps a bad message: what it
    is, why, its queue; `feed_soon` says that a sweep's window may have room,
    `enqueue_soon` has chains of begun runs put on the queue. `environments` holds those of submitters (embedded
    service only). `wake_reconciler` says that there is work,
    `threads_per_slot` bounds the threads of steps' libraries, 0 does not."""

    name: str
    storage: RunStore
    run_index: RunIndex
    executor: Executor
    leases: LeaseKeeper
    workspaces: Workspaces
    sweeps: SweepCache
    refuse: Callable[[bytes, str, str], None]
    feed_soon: Callable[[str], None]
    enqueue_soon: Callable[[Pipeline, Sequence[Sequence[StepMessage]]], None]
    admission: Admission
    disks: DiskMonitor
    health: HostHealth
    log_limit_bytes: int
    environment: dict[str, str]
    python: Path
    grace_seconds: float = field(default=10.0)
    keep_limit_bytes: int = 1024 * 1024 * 1024
    keep_total_bytes: int = DEFAULT_KEEP_TOTAL_BYTES
    environments: EnvironmentFolder | None = None
    threads_per_slot: int = 0
    wake_reconciler: Callable[[], None] = lambda: None
