"""Repeats an operation on the storage while it fails with what may pass by itself, such as a server's restart.

What reads and writes the storage (this room, and what copies files to and from it) calls `repeat_until_done`. For how
long, says whoever works there, with `patient`: a step's attempt for as long as others need to take it over, a command
that looks for a few seconds, a probe not at all. The decision is `delay_seconds`; clock and sleep are passed in.
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
"""For whoever looks: long enough for a blip, and not for a person to wonder."""
NOTICED_SECONDS = 1.0
"""What lasts longer is told to whoever waits."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an operation that fails with what may pass is repeated, counted from its first failure.

    `check` is called before each repetition and raises what ends the wait. `notice` is told once of a wait that is not
    over at once. `is_away` is asked when the time is over: whether the storage as a whole fails. While it does, the
    operation is repeated for up to `away_seconds`, and has then failed with StorageAwayError; otherwise it has one
    more try, and then fails with StorageError.
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
"""Of a command that waits for the end of runs, which go on meanwhile, and of a worker that starts."""

_present: ContextVar[Patience] = ContextVar("patience", default=BRIEF)


@contextmanager
def patient(patience: Patience) -> Iterator[None]:
    """What this thread does to the storage in the block is repeated for so long."""
    token = _present.set(patience)
    try:
        yield
    finally:
        _present.reset(token)


def delay_seconds(tries: int, failing_seconds: float, limit_seconds: float) -> float | None:
    """Until an operation that has failed `tries` times is repeated; None when it has failed for long enough. Pure."""
    left = limit_seconds - failing_seconds
    if left <= 0:
        return None
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(tries - 1, 10), MAX_DELAY_SECONDS, left)


def repeat_until_done(action: Callable[[], _T], is_awaited: Callable[[OSError], bool] = lambda _: False) -> _T:
    """The result of the action, done again while it fails with what may pass. It must be one that can be done again.

    `is_awaited`: what may pass for this action alone, such as a file that a network file system does not show yet; one
    that has not passed is raised as it is. Raises OSError for what does not pass, StorageAwayError when the storage is
    away for longer than is waited, StorageError when this operation alone goes on failing.
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
    """One operation that fails again and again."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tries = 0
        self._began = self._since = 0.0
        self._is_noticed = self._is_last = False

    def next_delay_seconds(self, error: OSError) -> float:
        """Until the operation is repeated that has just failed. Raises what it has failed with for good."""
        patience, now = self._patience, self._patience.clock()
        if self._tries == 0:
            # From the first failure: what came before it may have taken long, of many or large files.
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
    """What is said of an operation that has failed for too long."""
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    if is_away:
        return StorageAwayError(f"the storage fails: {where}{what}; try again when it is back")
    return StorageError(f"the storage fails again and again here: {where}{what}")
