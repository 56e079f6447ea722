"""The ended runs of one sweep, read once and kept: what its tables and plots show."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline_queue.contract.errors import BrokerError, PipelineQueueError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import Scalar
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.results import Row, SeenColumns, row_of
from pipeline_queue.storage.at_once import at_once
from pipeline_queue.storage.run_store import RunStore

RESCAN_SECONDS = 10.0
"""Ends that nothing tells of (without the index, or after a retry) are read again at most so often."""
_RESCAN_FACTOR = 10
"""Reading again may take one part in so many of the time."""
_LOOK_SECONDS = 0.9
_MAX_ANSWERS = 32
_PORTION = 2_000


@dataclass(frozen=True, slots=True)
class Ended:
    """One ended run: its row, and when it ended."""

    row: Row
    ended_at: float | None

    @property
    def flat(self) -> dict[str, Scalar | None]:
        """Flat name -> value. It is made at each call: kept, those of 100,000 runs would need 70 MB."""
        return self.row.as_dict() | ({"cause": self.row.cause} if self.row.cause else {})


class EndedRows:
    """Thread-safe. `version` rises with every change, so that whoever knows it can tell whether to ask again."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.total = len(sweep.space)
        self.version = 0
        self._known: dict[int, Ended] = {}
        self._sorted: list[Ended] | None = None
        self._seen: SeenColumns | None = None
        self._mutex = threading.Lock()
        self._reading = threading.Lock()
        self._is_whole = False
        self._looked_at = -RESCAN_SECONDS
        self._reread_at = -RESCAN_SECONDS
        """Not before then are known ends read again; later where that takes long."""
        self._progress = 0
        self._scanned_end: float | None = None
        self._is_complete = False
        """Whether the last scan found all runs that the sweep's end counts."""
        self._answers: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._texts: dict[str, str] = {}

    def progress(self) -> dict[str, int] | None:
        """How far the first reading is; None once it is over."""
        return None if self._is_whole else {"done": self._progress, "total": self.total}

    def all(self) -> list[Ended]:
        """By index."""
        with self._mutex:
            if self._sorted is None:
                self._sorted = [self._known[index] for index in sorted(self._known)]
            return self._sorted

    def seen(self) -> SeenColumns:
        """The columns of the rows as they are now or were a moment ago."""
        runs = self.all()
        with self._mutex:
            if self._seen is not None:
                return self._seen
        seen = SeenColumns()
        for one in runs:
            seen.add(one.row)
        with self._mutex:
            if self._sorted is runs:
                self._seen = seen
        return seen

    def kept(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` returns, remembered under `key` until the rows change or many others were asked for since."""
        with self._mutex:
            version, found = self.version, self._answers.get(key)
            if found is not None:
                self._answers.move_to_end(key)
        if found is None:
            found = make()
            with self._mutex:
                if version == self.version:
                    self._answers[key] = found
                    while len(self._answers) > _MAX_ANSWERS:
                        self._answers.popitem(last=False)
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
            elif ended_at is None:
                self._read_new(storage, run_index)
            elif self._scanned_end != ended_at or (not self._is_complete and self._may_reread()):
                self._scan(storage)  # a retried sweep ends again, with other ends
            if ended_at is not None:
                self._scanned_end = ended_at
                self._is_complete = counted is not None and len(self._known) >= counted
            self._looked_at = time.monotonic()
        finally:
            self._reading.release()

    def _may_reread(self) -> bool:
        return time.monotonic() >= self._reread_at

    def _note_reread(self, began: float) -> None:
        now = time.monotonic()
        self._reread_at = now + max(RESCAN_SECONDS, _RESCAN_FACTOR * (now - began))

    def _read_new(self, storage: RunStore, run_index: RunIndex) -> None:
        """A run that was taken into the window and is not in flight any more has ended."""
        try:
            live = run_index.sweeps.read(self.sweep.record.id)
            in_flight = run_index.sweeps.in_flight(self.sweep.record.id) if live else frozenset[int]()
        except BrokerError:
            live = None
        if live is None:
            if self._may_reread():
                self._scan(storage)
            return
        with self._mutex:
            gone = [index for index in in_flight if index in self._known]
            new = [index for index in range(live.cursor) if index not in self._known and index not in in_flight]
        found = [one for one in at_once(lambda index: self._read(storage, index), new) if one is not None]
        self._change(found, gone)
        if self._may_reread():
            self._read_retried(storage)

    def _read_retried(self, storage: RunStore) -> None:
        """A run that did not succeed may have been retried, and have ended again between two looks."""
        began = time.monotonic()
        with self._mutex:
            bad = [index for index, one in self._known.items() if one.row.state != "succeeded"]
        found = list(at_once(lambda index: self._read(storage, index), bad))
        gone = [index for index, one in zip(bad, found, strict=True) if one is None]
        self._change([one for one in found if one is not None], gone)
        self._note_reread(began)

    def _read(self, storage: RunStore, index: int) -> Ended | None:
        try:
            end = self.sweep.paths(storage, RunId(self.sweep.record.id, index)).end()
            return None if end is None else self._ended(end.model_dump_json().encode())
        except (PipelineQueueError, ValueError):
            return None  # damaged, as `results` says; or its sweep is being deleted

    def _scan(self, storage: RunStore) -> None:
        """Reads every end. Shows the first ones before the last one is read."""
        began = time.monotonic()
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
        is_first, self._is_whole = not self._is_whole, True
        self._change(portion, gone, always=is_first)
        if is_first:
            self._seen = None
            self.seen()  # in their order, before the first question
        self._note_reread(began)

    def _ended(self, data: bytes) -> Ended:
        row, ended_at = row_of(self.sweep.record.id, data)
        parameters, metrics = self._shared(row.parameters), self._shared(row.metrics)
        return Ended(replace(row, parameters=parameters, metrics=metrics, cause=self._text(row.cause)), ended_at)

    def _shared(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same; equal texts of all runs are one text in memory."""
        return {sys.intern(name): self._text(value) if type(value) is str else value for name, value in values.items()}

    def _text(self, text: str) -> str:
        return self._texts.setdefault(text, text)

    def _change(self, found: Sequence[Ended], gone: Iterable[int], always: bool = False) -> None:
        with self._mutex:
            changed = [one for one in found if self._known.get(one.row.index) != one]
            gone = list(gone)
            for index in gone:
                del self._known[index]
            if gone or not self._is_whole or any(one.row.index in self._known for one in changed):
                self._seen = None
            elif self._seen is not None and changed:
                self._seen = self._seen.with_rows([one.row for one in changed])
            self._known.update((one.row.index, one) for one in changed)
            if changed or gone or always:
                self.version += 1
                self._sorted = None
                self._answers.clear()
