"""The storage and the scratch disk of a worker: work waits while one of them is full, fails or is not there."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pipeline_queue.contract.errors import BrokerError, StorageError
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.storage.access import describe_failed, is_denied
from pipeline_queue.storage.disk import is_full, is_passing, room_of, try_to_write
from pipeline_queue.storage.storage import Storage
from workers.agents.admission import Admission

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 1.0
_AGREE_SECONDS = 5.0
_PASSING_SECONDS = 30.0

_T = TypeVar("_T")


class DiskMonitor:
    """Looks every second whether both are there and have room; `run_index` is that thread's own."""

    def __init__(self, storage: Storage, scratch: Path, run_index: RunIndex, admission: Admission) -> None:
        self._storage = storage
        self._run_index = run_index
        self._admission = admission
        self._token = storage.token()
        self._places = {"storage": storage.root, "scratch": scratch}
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
        text = self._trouble(key, is_suspect)
        if text:
            self._admission.hold(key, text)
        return text

    def when_writable(self, check: Callable[[], None], action: Callable[[], _T]) -> _T:
        """The result of the action, done again while a disk is full, and for a while when it fails otherwise.

        `check` raises what is to end the wait, and is asked before each repetition. The action must be one that can be
        done again.
        """
        passing_until: float | None = None
        with contextlib.ExitStack() as stack:
            is_waiting = False
            while True:
                try:
                    return action()
                except OSError as error:
                    # From the first: what came before it may have taken long, of many or large files.
                    passing_until = passing_until or time.monotonic() + _PASSING_SECONDS
                    if not is_full(error) and not (is_passing(error) and time.monotonic() < passing_until):
                        raise
                    if not is_waiting:
                        is_waiting = True
                        stack.enter_context(self._counted_as_waiting())
                        logger.warning("waits: %s", self.explain(error))
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
                logger.exception("the disks were not looked at")

    def _look(self, key: str) -> None:
        is_held = self._admission.is_held(key)
        if not self.trouble(key, is_suspect=is_held) and is_held and not (key == "storage" and self._waiting):
            self._admission.release(key)

    def _trouble(self, key: str, is_suspect: bool) -> str:
        folder = self._places[key]
        try:
            if key == "storage":
                self._storage.check(self._token)
                self._agree()
                if is_suspect:
                    self._storage.check_access()
            room = room_of(folder)
            if room.is_none() or is_suspect:
                try_to_write(folder)
        except StorageError as error:
            return str(error)
        except OSError as error:
            return f"{_described(key, folder)} {'is full' if is_full(error) else 'fails'}: {_figures(folder, error)}"
        return f"{_described(key, folder)} is full: {room}" if room.is_none() else ""

    def _agree(self) -> None:
        """Raises StorageError when the broker has come to belong to another storage."""
        if time.monotonic() - self._agreed_at < _AGREE_SECONDS:
            return
        try:
            token = self._run_index.agree_on_storage(self._token)
        except BrokerError:
            return  # others say so
        self._storage.check(token)
        self._agreed_at = time.monotonic()


def _described(key: str, folder: Path) -> str:
    return f"the {'storage' if key == 'storage' else 'scratch disk'} {folder}"


def _figures(folder: Path, error: OSError) -> str:
    text = error.strerror or str(error)
    with contextlib.suppress(OSError):
        return f"{text} ({room_of(folder)})"
    return text
