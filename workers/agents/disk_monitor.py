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
"""Other workers need this long to take over what this worker cannot continue."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Place:
    """A monitored place: the storage or the scratch disk. `make_room` gives up what it holds for speed only."""

    where: str
    room: Callable[[], Room]
    try_to_write: Callable[[], None]
    make_room: Callable[[], None] = lambda: None


class DiskMonitor:
    """Checks every second whether both exist and have space; `run_index` belongs to the monitor's thread only."""

    def __init__(
        self,
        storage: RunStore,
        scratch: Path,
        run_index: RunIndex,
        admission: Admission,
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        """`make_room` is that of the scratch disk."""
        self._storage = storage
        self._run_index = run_index
        self._admission = admission
        self._token = storage.token()
        self._places = {
            "storage": _Place(storage.where(), storage.room, storage.try_to_write),
            "scratch": _Place(str(scratch), partial(room_of, scratch), partial(try_to_write, scratch), make_room),
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
            self._thread.join(timeout=2)  # a hanging storage may block it

    def explain(self, error: BaseException) -> str:
        """Explains a read or write error, with path and figures. The worker takes no messages while the error lasts."""
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
        """The fault of `storage` or `scratch` now, empty if there is none. Tests a suspect place by writing to it."""
        text, _ = self._noted_trouble(key, is_suspect)
        return text

    def lasting_trouble(self) -> tuple[str, bool]:
        """A fault of either place that outlasts the wait for it, and whether the disk is full."""
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
        with patient(NONE):  # one check, without retries
            text, is_without_room = self._trouble(key, is_suspect)
        if text:
            self._admission.hold(key, text)
        return text, is_without_room

    def patience(self, check: Callable[[], None], away_seconds: float = 0.0) -> Patience:
        """The patience of an attempt. While the storage fails, the worker takes no messages and retries its operations.

        `check` raises to end the wait; `away_seconds`: how long to wait while the whole storage fails.
        """
        return Patience(
            _PASSING_SECONDS,
            away_seconds=away_seconds,
            check=check,
            notice=lambda error: logger.warning("wait for storage: %s", self.explain(error)),
            is_away=lambda: bool(self.trouble("storage", is_suspect=True)),
        )

    def when_writable(self, check: Callable[[], None], action: Callable[[], _T], away_seconds: float = 0.0) -> _T:
        """The result of the action, retried while a disk is full, and as `patience` allows after other errors.

        `check` is called before each retry. The action must be safe to repeat.
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
        """The fault in words, empty when there is none, and whether the disk is full."""
        place = self._places[key]
        try:
            if key == "storage":
                self._storage.check(self._token)
                self._agree()
                if is_suspect:
                    self._storage.check_access()
            room = place.room()
            if room.is_none():
                place.make_room()
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
        """Raises StorageError when the broker now belongs to another storage."""
        if time.monotonic() - self._agreed_at < _AGREE_SECONDS:
            return
        try:
            token = self._run_index.server.agree_on_storage(self._token)
        except BrokerError:
            return  # other code reports this
        self._storage.check(token)
        self._agreed_at = time.monotonic()


def _described(key: str, place: _Place) -> str:
    return f"the {'storage' if key == 'storage' else 'scratch disk'} {place.where}"


def _figures(place: _Place, error: OSError) -> str:
    text = error.strerror or str(error)
    with contextlib.suppress(OSError):
        return f"{text} ({place.room()})"
    return text
