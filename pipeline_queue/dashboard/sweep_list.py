"""All sweeps of the storage as rows of the page: read newest first, ended ones once, the others whenever asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline_queue.contract.errors import NotFoundError, StorageAwayError, StorageError, UnreachableError
from pipeline_queue.dashboard.sweep_row import SweepRow, row_of_run, row_of_sweep
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.current import CurrentState
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, read_sweep
from pipeline_queue.storage.run_store import RunStore

_LIST_SECONDS = 0.9
_ENDED_SECONDS = 10.0
"""An ended sweep may have been retried; one that is shown is looked at so often."""
_SEARCH_SECONDS = 0.2
"""A search looks again at those that go on for so long, the longest unseen first."""


@dataclass(slots=True)
class _Known:
    row: SweepRow
    read_at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of the list. `read`: of how many sweeps the state is known; `matched`: how many of those match."""

    rows: tuple[SweepRow, ...]
    matched: int
    total: int
    read: int


class SweepList:
    """Thread-safe. Older sweeps are read in a thread of its own, so that the newest are shown at once."""

    def __init__(self, storage: Callable[[], RunStore], run_index: Callable[[], RunIndex]) -> None:
        self._storage = storage
        self._run_index = run_index
        self._names: list[str] = []
        self._listed_at = -_LIST_SECONDS
        self._known: dict[str, _Known] = {}
        self._unreadable: set[str] = set()
        self._mutex = threading.Lock()
        self._filler: threading.Thread | None = None

    def page(self, search: str, state: str, offset: int, limit: int) -> Listed:
        """Raises BrokerError and StorageError."""
        self._list()
        words = search.lower().split()
        with self._mutex:
            names = list(self._names)
        if not words and not state:
            shown = names[offset : offset + limit]
            self._refresh(shown)
            matching = names
        else:
            self._refresh_running(names)
            matching = [name for name in names if self._matches(name, words, state)]
            shown = matching[offset : offset + limit]
            self._refresh(shown)
        self._fill_in_background()
        with self._mutex:
            rows = tuple(self._known[name].row for name in shown if name in self._known)
            return Listed(rows, len(matching), len(names), len(self._known) + len(self._unreadable))

    def row(self, name: str) -> SweepRow:
        """One sweep, as it is now. Raises NotFoundError."""
        self._refresh([name], ended_seconds=0.0, is_strict=True)
        with self._mutex:
            return self._known[name].row

    def forget(self, name: str) -> None:
        with self._mutex:
            self._known.pop(name, None)
            self._names = [one for one in self._names if one != name]

    def _list(self) -> None:
        if time.monotonic() - self._listed_at < _LIST_SECONDS:
            return
        names = list(self._storage().sweeps())
        with self._mutex:
            self._names = names
            self._listed_at = time.monotonic()
            for gone in self._known.keys() - set(names):
                del self._known[gone]
            self._unreadable.intersection_update(names)

    def _matches(self, name: str, words: list[str], state: str) -> bool:
        known = self._known.get(name)
        if known is None:
            return False
        row = known.row
        if state and not (row.state not in ENDED_SWEEP if state == "active" else row.state == state):
            return False
        text = f"{row.name} {row.id} {row.pipeline} {row.submitted_by}".lower()
        return all(word in text for word in words)

    def _refresh_running(self, names: list[str]) -> None:
        there, until = set(names), time.monotonic() + _SEARCH_SECONDS
        with self._mutex:
            ages = {name: self._known[name].read_at if name in self._known else 0.0 for name in there}
        running = [name for name in self._run_index().sweeps.unended() if name in there]
        for name in sorted(running, key=ages.__getitem__):
            if time.monotonic() > until:
                break
            self._refresh([name])

    def _refresh(self, names: list[str], ended_seconds: float = _ENDED_SECONDS, is_strict: bool = False) -> None:
        now = time.monotonic()
        for name in names:
            known = self._known.get(name)
            if known is not None:
                pause = ended_seconds if known.row.state in ENDED_SWEEP else _LIST_SECONDS if ended_seconds else 0.0
                if now - known.read_at < pause:
                    continue
            try:
                row = self._read(name)
            except StorageAwayError:
                raise
            except (NotFoundError, StorageError):
                with self._mutex:
                    self._unreadable.add(name)
                if is_strict:
                    raise
                continue
            with self._mutex:
                self._unreadable.discard(name)
                self._known[name] = _Known(row, time.monotonic())

    def _read(self, name: str) -> SweepRow:
        storage, run_index = self._storage(), self._run_index()
        sweep = Sweep.read(storage, name)
        if len(sweep.space) == 1:
            return row_of_run(sweep, CurrentState(run_index).run(storage, sweep, sweep.run_id(0)))
        end = storage.sweep_end(name)
        live = None if end is not None else run_index.sweeps.read(name)
        return row_of_sweep(sweep, read_sweep(storage, sweep, live))

    def _fill_in_background(self) -> None:
        with self._mutex:
            missing = [name for name in self._names if name not in self._known and name not in self._unreadable]
            if not missing or (self._filler is not None and self._filler.is_alive()):
                return
            self._filler = threading.Thread(target=self._fill, args=(missing,), name="older-sweeps", daemon=True)
        self._filler.start()

    def _fill(self, names: list[str]) -> None:
        for name in names:
            try:
                self._refresh([name])
            except UnreachableError:
                return  # the storage or the broker is away; the next request starts again
