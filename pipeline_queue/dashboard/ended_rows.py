"""The ended runs of one sweep, read once and kept: what its tables and plots show."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_queue.contract.errors import BrokerError, PipelineQueueError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import Scalar
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.results import Row, row_of
from pipeline_queue.storage.at_once import at_once
from pipeline_queue.storage.run_store import RunStore

_RESCAN_SECONDS = 10.0
"""Without the index, all ends are read again at most so often."""
_LOOK_SECONDS = 0.9
_PORTION = 2_000


@dataclass(frozen=True, slots=True)
class Ended:
    """One ended run: its row, the row's flat values, and when it ended."""

    row: Row
    flat: dict[str, Scalar | None]
    ended_at: float | None


class EndedRows:
    """Thread-safe. `version` rises with every change, so that whoever knows it can tell whether to ask again."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.total = len(sweep.space)
        self.version = 0
        self._known: dict[int, Ended] = {}
        self._sorted: list[Ended] | None = None
        self._mutex = threading.Lock()
        self._reading = threading.Lock()
        self._is_whole = False
        self._looked_at = -_RESCAN_SECONDS
        self._scanned_at = -_RESCAN_SECONDS
        self._progress = 0
        self._checked_end: float | None = None
        self._answers: dict[tuple[Any, ...], Any] = {}

    def progress(self) -> dict[str, int] | None:
        """How far the first reading is; None once it is over."""
        return None if self._is_whole else {"done": self._progress, "total": self.total}

    def all(self) -> list[Ended]:
        """By index."""
        with self._mutex:
            if self._sorted is None:
                self._sorted = [self._known[index] for index in sorted(self._known)]
            return self._sorted

    def kept(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` returns, remembered under `key` until the rows change."""
        with self._mutex:
            version, found = self.version, self._answers.get(key)
        if found is None:
            found = make()
            with self._mutex:
                if version == self.version:
                    self._answers[key] = found
        return found

    def refresh(
        self, storage: RunStore, run_index: RunIndex, ended_at: float | None, counted: int | None = None
    ) -> None:
        """Reads what has ended since the last time; returns at once while another thread reads.

        `ended_at` and `counted`: when the sweep ended, and of how many runs its record knows then. Raises StorageError.
        """
        if time.monotonic() - self._looked_at < _LOOK_SECONDS or not self._reading.acquire(blocking=False):
            return
        try:
            if not self._is_whole:
                self._scan(storage)
            elif ended_at is not None:
                if self._checked_end != ended_at:  # a retried sweep ends again, with other ends
                    self._scan(storage)
            else:
                self._read_new(storage, run_index)
            if ended_at is not None and counted is not None and len(self._known) >= counted:
                self._checked_end = ended_at
            self._looked_at = time.monotonic()
        finally:
            self._reading.release()

    def _read_new(self, storage: RunStore, run_index: RunIndex) -> None:
        """A run that was taken into the window and is not in flight any more has ended."""
        try:
            live = run_index.sweeps.read(self.sweep.record.id)
            in_flight = run_index.sweeps.in_flight(self.sweep.record.id) if live else frozenset[int]()
        except BrokerError:
            live = None
        if live is None:
            if time.monotonic() - self._scanned_at >= _RESCAN_SECONDS:
                self._scan(storage)
            return
        with self._mutex:
            again = [index for index in in_flight if index in self._known]
            new = [index for index in range(live.cursor) if index not in self._known and index not in in_flight]
        found = [one for one in at_once(lambda index: self._read(storage, index), new) if one is not None]
        self._change(found, again)

    def _read(self, storage: RunStore, index: int) -> Ended | None:
        try:
            end = self.sweep.paths(storage, RunId(self.sweep.record.id, index)).end()
            return None if end is None else self._ended(end.model_dump_json().encode())
        except (PipelineQueueError, ValueError):
            return None  # damaged, as `results` says; or its sweep is being deleted

    def _scan(self, storage: RunStore) -> None:
        """Reads every end. Shows the first ones before the last one is read."""
        self._scanned_at = time.monotonic()
        seen: set[int] = set()
        portion: list[Ended] = []
        for _, data in storage.run_ends(self.sweep.record.id):
            try:
                one = self._ended(data)
            except (ValueError, RecursionError):
                continue
            seen.add(one.row.index)
            portion.append(one)
            if len(portion) >= _PORTION:
                self._change(portion, ())
                portion = []
            self._progress = max(self._progress, len(seen))
        with self._mutex:
            gone = [index for index in self._known if index not in seen]
        self._is_whole = True
        self._change(portion, gone, always=True)

    def _ended(self, data: bytes) -> Ended:
        row, ended_at = row_of(self.sweep.record.id, data)
        return Ended(row, row.as_dict() | ({"cause": row.cause} if row.cause else {}), ended_at)

    def _change(self, found: Sequence[Ended], gone: Iterable[int], always: bool = False) -> None:
        with self._mutex:
            changed = [one for one in found if self._known.get(one.row.index) != one]
            gone = list(gone)
            for index in gone:
                del self._known[index]
            self._known.update((one.row.index, one) for one in changed)
            if changed or gone or always:
                self.version += 1
                self._sorted = None
                self._answers.clear()
