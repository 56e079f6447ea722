"""Watches the storage and the scratch disk: the worker pauses while one of them is full, fails or is missing."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pipeline_queue.contract.errors import BrokerError, StorageError
from pipeline_queue.index.leases import LEASE_SECONDS
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.storage.access import describe_failed, is_denied
from pipeline_queue.storage.disk import Room, is_full, is_passing, room_of, try_to_write
from pipeline_queue.storage.patience import NONE, Patience, patient, repeat_until_done
from pipeline_queue.storage.run_store import RunStore
from workers.agents.admission import Admission

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 1.0
_AGREE_SECONDS = 5.0
_PASSING_SECONDS = LEASE_SECONDS
"""Others need as long to take over what this worker cannot go on with."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Place:
    """What is looked at: the storage, or the scratch disk."""

    where: str
    room: Callable[[], Room]
    try_to_write: Callable[[], None]


class DiskMonitor:
    """Looks every second whether both are there and have room; `run_index` is that thread's own."""

    def __init__(self, storage: RunStore, scratch: Path, run_index: RunIndex, admission: Admission) -> None:
        self._storage = storage
        self._run_index = run_index
        self._admission = admission
        self._token = storage.token()
        self._places = {
            "storage": _Place(storage.where(), storage.room, storage.try_to_write),
            "scratch": _Place(str(scratch), partial(room_of, scratch), partial(try_to_write, scratch)),
        }
        self._waiting = 0
        self._lock = threading.Lock()
        self._agreed_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disks", daemon=True)

    @property
    def token(self) -> str:
        return self._token

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # a storage that hangs holds it up

    def explain(self, error: BaseException) -> str:
        """What an error of a write or read means, with path and figures; nothing more is taken while it lasts."""
        cause = error if isinstance(error, OSError) else error.__cause__
        if is_full(cause) or is_passing(cause) or is_denied(cause):
            for key in self._places:
                text = self.trouble(key, is_suspect=True)
                if text:
                    return text
        if isinstance(cause, OSError) and is_denied(cause) and cause.filename:
            return describe_failed(Path(str(cause.filename)), cause)
        return f"the storage failed: {error}"

    def trouble(self, key: str, is_suspect: bool = False) -> str:
        """What is wrong with `storage` or `scratch` now, empty when nothing is; one that is suspect is written to."""
        text, _ = self._noted_trouble(key, is_suspect)
        return text

    def lasting_trouble(self) -> tuple[str, bool]:
        """What is wrong with one of them that does not pass while it is waited for; whether it is full."""
        last = ("", False)

        def look() -> None:
            nonlocal last
            for key in self._places:
                last = self._noted_trouble(key)
                if last[1]:
                    return
                if last[0]:
                    raise OSError(errno.EIO, last[0])

        with contextlib.suppress(StorageError):
            repeat_until_done(look)
        return last

    def _noted_trouble(self, key: str, is_suspect: bool = False) -> tuple[str, bool]:
        with patient(NONE):  # a look, which is over at once
            text, is_without_room = self._trouble(key, is_suspect)
        if text:
            self._admission.hold(key, text)
        return text, is_without_room

    def patience(self, check: Callable[[], None], away_seconds: float = 0.0) -> Patience:
        """An attempt's: while the storage fails, nothing more is taken, and what is in hand is done again for a while.

        `check` raises what is to end the wait; `away_seconds` is how long a storage that fails as a whole is waited
        for.
        """
        return Patience(
            _PASSING_SECONDS,
            away_seconds=away_seconds,
            check=check,
            notice=lambda error: logger.warning("wait for storage: %s", self.explain(error)),
            is_away=lambda: bool(self.trouble("storage", is_suspect=True)),
        )

    def when_writable(self, check: Callable[[], None], action: Callable[[], _T], away_seconds: float = 0.0) -> _T:
        """The result of the action, done again while a disk is full, and with `patience` when it fails otherwise.

        `check` is asked before each repetition. The action must be one that can be done again.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(patient(self.patience(check, away_seconds)))
            is_waiting = False
            while True:
                try:
                    return repeat_until_done(action)
                except OSError as error:
                    if not is_full(error):
                        raise
                    if not is_waiting:
                        is_waiting = True
                        stack.enter_context(self._counted_as_waiting())
                        logger.warning("wait for storage: %s", self.explain(error))
                time.sleep(_INTERVAL_SECONDS)
                check()

    @contextlib.contextmanager
    def _counted_as_waiting(self) -> Iterator[None]:
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_SECONDS):
            try:
                for key in self._places:
                    self._look(key)
            except Exception:
                logger.exception("abort disk check")

    def _look(self, key: str) -> None:
        is_held = self._admission.is_held(key)
        if not self.trouble(key, is_suspect=is_held) and is_held and not (key == "storage" and self._waiting):
            self._admission.release(key)

    def _trouble(self, key: str, is_suspect: bool) -> tuple[str, bool]:
        """In words, empty when there is none, and whether it is for lack of room."""
        place = self._places[key]
        try:
            if key == "storage":
                self._storage.check(self._token)
                self._agree()
                if is_suspect:
                    self._storage.check_access()
            room = place.room()
            if room.is_none() or is_suspect:
                place.try_to_write()
        except StorageError as error:
            return str(error), False
        except OSError as error:
            what = "is full" if is_full(error) else "fails"
            return f"{_described(key, place)} {what}: {_figures(place, error)}", is_full(error)
        return (f"{_described(key, place)} is full: {room}", True) if room.is_none() else ("", False)

    def _agree(self) -> None:
        """Raises StorageError when the broker has come to belong to another storage."""
        if time.monotonic() - self._agreed_at < _AGREE_SECONDS:
            return
        try:
            token = self._run_index.server.agree_on_storage(self._token)
        except BrokerError:
            return  # others say so
        self._storage.check(token)
        self._agreed_at = time.monotonic()


def _described(key: str, place: _Place) -> str:
    return f"the {'storage' if key == 'storage' else 'scratch disk'} {place.where}"


def _figures(place: _Place, error: OSError) -> str:
    text = error.strerror or str(error)
    with contextlib.suppress(OSError):
        return f"{text} ({place.room()})"
    return text
