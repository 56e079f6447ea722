"""Reads for the pages, in a few threads and within a deadline: a storage that hangs must not stop the server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from pipeline_queue.client import Client
from pipeline_queue.contract.errors import StorageAwayError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import SweepEnd
from pipeline_queue.contract.settings import Settings
from pipeline_queue.dashboard.ended_rows import EndedRows
from pipeline_queue.dashboard.strip import Strip
from pipeline_queue.dashboard.sweep_list import SweepList
from pipeline_queue.index.backend import Backend
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.cluster import ClusterReader
from pipeline_queue.reporting.current import CurrentState
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.submitted_environment import EnvironmentFolder

_T = TypeVar("_T")

_THREADS = 8
DEADLINE_SECONDS = 20.0
_MOMENT_SECONDS = 0.15
_MAX_KNOWN = 16
"""So many sweeps' records stay in memory, which may list a million points."""
_MAX_SWEEPS = 8
"""Rows of so many sweeps stay in memory; the least recently asked for make room."""


@dataclass(frozen=True, slots=True)
class KnownSweep:
    """A sweep, and what reads its state; that remembers what stays the same of it."""

    sweep: Sweep
    current: CurrentState


class Reading:
    """Everything that the pages read, for all browsers of this process together."""

    def __init__(self, settings: Settings, writes: bool) -> None:
        """`writes`: whether actions may be asked for, so that the storage must be writable here."""
        self.settings = settings
        self.client = Client(settings.storage, settings)
        self._backend = Backend(settings.storage, settings)
        self._threads = ThreadPoolExecutor(_THREADS, "dashboard")
        self._scanner = ThreadPoolExecutor(2, "first-reading")
        self._known: OrderedDict[str, KnownSweep] = OrderedDict()
        self._rows: OrderedDict[str, EndedRows] = OrderedDict()
        self._mutex = threading.Lock()
        self._away_since: float | None = None
        self._asked = 0
        self.sweeps = SweepList(self.storage, self._backend.live)
        self.environments = EnvironmentFolder(settings.environments) if settings.environments else None
        self.cluster = ClusterReader(self._backend, writes)
        self.strip = Strip()

    @property
    def run_index(self) -> RunIndex:
        return self._backend.live()

    def storage(self) -> RunStore:
        """Raises BrokerError and StorageError."""
        return self._backend.readable()

    def known(self, name: str) -> KnownSweep:
        """A sweep that exists now; read once, as its record never changes. Raises NotFoundError and StorageError."""
        storage = self.storage()
        with self._mutex:
            known = self._known.get(name)
        if known is not None and not storage.has_sweep(name):
            self.forget(name)
            known = None
        if known is None:
            known = KnownSweep(Sweep.read(storage, name), CurrentState(self.run_index))
        with self._mutex:
            known = self._known.setdefault(name, known)
            self._known.move_to_end(name)
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return known

    def sweep(self, name: str) -> Sweep:
        """Raises NotFoundError."""
        return self.known(name).sweep

    def find_run(self, name: str) -> tuple[Sweep, RunId]:
        """The run of this id, with its sweep. Raises NotFoundError."""
        run = RunId.parse(name)
        sweep = self.sweep(run.sweep)
        return sweep, sweep.run_id(run.index)

    def rows(self, name: str) -> EndedRows:
        """The ended runs of a sweep, as far as they have been read. Raises NotFoundError."""
        with self._mutex:
            known = self._rows.get(name)
        if known is None:
            known = EndedRows(self.sweep(name))
        with self._mutex:
            known = self._rows.setdefault(name, known)
            self._rows.move_to_end(name)
            while len(self._rows) > _MAX_SWEEPS:
                self._rows.popitem(last=False)
        return known

    def refresh_rows(self, name: str) -> EndedRows:
        """The ended runs of a sweep, with those that have ended since the last time. Raises NotFoundError."""
        rows, storage = self.rows(name), self.storage()
        end = storage.sweep_end(name)
        if end is None and rows.total == 1:
            run = rows.sweep.paths(storage, rows.sweep.run_id(0)).end()
            rows.refresh(storage, self.run_index, run.ended_at if run else None, int(run is not None))
        else:
            rows.refresh(storage, self.run_index, end.ended_at if end else None, _recorded(end))
        return rows

    def recent_rows(self, name: str) -> EndedRows:
        """Like `refresh_rows`, but waits only a moment for the first reading of a large sweep, which goes on."""
        rows = self.rows(name)
        if rows.progress() is None:
            return self.refresh_rows(name)
        asked = self._scanner.submit(self.refresh_rows, name)
        with suppress(TimeoutError):
            asked.result(_MOMENT_SECONDS)
        return rows

    def forget(self, name: str) -> None:
        """Drops what is remembered of a sweep that was deleted."""
        with self._mutex:
            self._known.pop(name, None)
            self._rows.pop(name, None)
        self.sweeps.forget(name)

    async def run(self, read: Callable[[], _T], deadline_seconds: float | None = DEADLINE_SECONDS) -> _T:
        """The result of `read` in a thread. Raises its errors, and StorageAwayError after the deadline, while `read`
        goes on; without waiting when all threads hang already.
        """
        if self._away_since is not None and self._asked > _THREADS:
            raise self._away()
        self._asked += 1
        asked = asyncio.get_running_loop().run_in_executor(self._threads, _told(read))
        asked.add_done_callback(self._answered)
        try:
            result = await asyncio.wait_for(asyncio.shield(asked), deadline_seconds)
        except TimeoutError:
            if self._away_since is None:
                self._away_since = time.monotonic() - (deadline_seconds or 0.0)
            raise self._away() from None
        self._away_since = None
        return result

    def _answered(self, asked: asyncio.Future[_T]) -> None:
        self._asked -= 1
        if not asked.cancelled():
            asked.exception()  # it has been seen, also when nobody waits any more

    def _away(self) -> StorageAwayError:
        seconds = time.monotonic() - (self._away_since or time.monotonic())
        return StorageAwayError(f"The storage {self.settings.storage} has not answered for {seconds:.0f} s.")

    def close(self) -> None:
        for pool in (self._threads, self._scanner):
            pool.shutdown(wait=False, cancel_futures=True)
        self.client.close()


def _recorded(end: SweepEnd | None) -> int | None:
    """How many runs have an end of their own; those that never began have none."""
    return None if end is None else end.counts.get("succeeded", 0) + end.counts.get("failed", 0)


def _told(read: Callable[[], _T]) -> Callable[[], _T]:
    """`read` with the errors of the system as those of the project."""

    def told() -> _T:
        try:
            return read()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise StorageError(f"the storage cannot be read: {where}{error.strerror or error}") from error

    return told
