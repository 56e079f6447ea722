"""Retries an operation on the storage while its errors may be temporary, such as those of a server's restart.

Code that reads or writes the storage (this package, and code that copies files to and from it) calls
`repeat_until_done`. Its caller sets with `patient` how long to retry: a step's attempt as long as other workers need to
take it over, a command that only reads a few seconds, a probe not at all. `delay_seconds` decides; clock and sleep are
passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from pipeline_queue.contract.errors import StorageAwayError, StorageError
from pipeline_queue.storage.disk import is_passing

FIRST_DELAY_SECONDS = 0.02
MAX_DELAY_SECONDS = 1.0
BRIEF_SECONDS = 3.0
"""For commands that only read: long enough for a short outage, too short for a person to wonder."""
NOTICED_SECONDS = 1.0
"""After this time, the waiting user or worker is notified."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to retry an operation that fails with temporary errors, counted from its first failure.

    `check` is called before each retry; it raises to end the wait. `notice` is called once when a wait lasts longer
    than a moment. When the time is over, `is_away` is called: it returns whether the whole storage fails. While it
    does, the operation is retried for up to `away_seconds` and then fails with StorageAwayError; otherwise the
    operation gets one more try and then fails with StorageError.
    """

    limit_seconds: float
    away_seconds: float = 0.0
    check: Callable[[], None] = lambda: None
    notice: Callable[[OSError], None] = lambda _: None
    is_away: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


BRIEF = Patience(BRIEF_SECONDS)
NONE = Patience(0.0)
WAITING = Patience(60.0)
"""For a command that waits for runs to end, which go on meanwhile, and for a worker that starts."""

_present: ContextVar[Patience] = ContextVar("patience", default=BRIEF)


@contextmanager
def patient(patience: Patience) -> Iterator[None]:
    """Sets how long this thread's storage operations in the block are retried."""
    token = _present.set(patience)
    try:
        yield
    finally:
        _present.reset(token)


def delay_seconds(tries: int, failing_seconds: float, limit_seconds: float) -> float | None:
    """The delay before the next try of an operation that failed `tries` times; None to give up. Pure."""
    left = limit_seconds - failing_seconds
    if left <= 0:
        return None
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(tries - 1, 10), MAX_DELAY_SECONDS, left)


def repeat_until_done(action: Callable[[], _T], is_awaited: Callable[[OSError], bool] = lambda _: False) -> _T:
    """The result of the action, retried while its errors may be temporary. The action must be safe to repeat.

    `is_awaited`: errors that are temporary for this action only, such as a file that a network file system does not
    show yet; when the time is over, the error is raised unchanged. Raises OSError for a permanent error,
    StorageAwayError when the whole storage fails for too long, StorageError when only this operation keeps failing.
    """
    patience = _present.get()
    wait: _Wait | None = None
    while True:
        try:
            return action()
        except OSError as error:
            if patience.limit_seconds <= 0 or not (is_passing(error) or is_awaited(error)):
                raise
            wait = wait or _Wait(patience)
            delay = wait.next_delay_seconds(error)
        patience.sleep(delay)
        patience.check()


class _Wait:
    """The wait for one operation that keeps failing."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tries = 0
        self._began = self._since = 0.0
        self._is_noticed = self._is_last = False

    def next_delay_seconds(self, error: OSError) -> float:
        """The delay before the next try of the operation that has just failed. Raises the final error to give up."""
        patience, now = self._patience, self._patience.clock()
        if self._tries == 0:
            # Count from the first failure: the work before it may have taken long, with many or large files.
            self._began = self._since = now
        self._tries += 1
        delay = None if self._is_last else delay_seconds(self._tries, now - self._since, patience.limit_seconds)
        if delay is not None:
            if not self._is_noticed and now - self._began >= NOTICED_SECONDS:
                self._is_noticed = True
                patience.notice(error)
            return delay
        if not is_passing(error):
            raise error
        if self._is_last:
            raise given_up(error, is_away=False) from error
        is_away = patience.is_away()
        if is_away and now - self._began >= patience.away_seconds:
            raise given_up(error, is_away=True) from error
        self._is_last, self._since = not is_away, now
        return MAX_DELAY_SECONDS if is_away else 0.0


def given_up(error: OSError, is_away: bool) -> StorageError:
    """The error for an operation that has failed for too long."""
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    if is_away:
        return StorageAwayError(f"the storage fails: {where}{what}; try again when it is back")
    return StorageError(f"the storage fails again and again here: {where}{what}")
