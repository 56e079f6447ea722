"""How long an operation on the storage is repeated: with a clock that only sleeping moves."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.contract.errors import StorageAwayError, StorageError
from pipeline_queue.storage.disk import is_passing
from pipeline_queue.storage.files import read_awaited, rename
from pipeline_queue.storage.patience import (
    FIRST_DELAY_SECONDS,
    MAX_DELAY_SECONDS,
    NONE,
    Patience,
    delay_seconds,
    patient,
    repeat_until_done,
)


@dataclass
class Clock:
    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _patience(clock: Clock, limit_seconds: float, **more: object) -> Patience:
    return Patience(limit_seconds, clock=lambda: clock.now, sleep=clock.sleep, **more)  # type: ignore[arg-type]


def _failing(errors: Iterable[int]) -> Callable[[], str]:
    left = iter(errors)

    def action() -> str:
        number = next(left, 0)
        if number:
            raise OSError(number, os.strerror(number), "/storage/file")
        return "done"

    return action


@given(tries=st.integers(1, 10_000), failing=st.floats(0, 1e6), limit=st.floats(0, 1e6))
def test_delays_grow_up_to_a_second_and_never_beyond_the_limit(tries: int, failing: float, limit: float) -> None:
    delay = delay_seconds(tries, failing, limit)
    if failing >= limit:
        assert delay is None
    else:
        assert delay is not None and 0 < delay <= MAX_DELAY_SECONDS and failing + delay <= limit * (1 + 1e-9)


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EAGAIN, errno.EHOSTDOWN, errno.ENODEV]
)
def test_what_may_pass_is_done_again(number: int) -> None:
    clock = Clock()
    with patient(_patience(clock, 10.0)):
        assert repeat_until_done(_failing([number] * 4)) == "done"
    assert clock.slept == [FIRST_DELAY_SECONDS * factor for factor in (1, 2, 4, 8)]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EEXIST, errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_what_does_not_pass_is_raised_at_once(number: int) -> None:
    clock = Clock()
    assert not is_passing(OSError(number, ""))
    with patient(_patience(clock, 10.0)), pytest.raises(OSError) as caught:
        repeat_until_done(_failing([number]))
    assert caught.value.errno == number and clock.slept == []


def test_a_storage_that_stays_away_is_given_up_after_the_limit() -> None:
    clock = Clock()
    noticed: list[OSError] = []
    patience = _patience(clock, 10.0, notice=noticed.append, is_away=lambda: True)
    with patient(patience), pytest.raises(StorageAwayError, match="/storage/file: Stale file handle"):
        repeat_until_done(_failing([errno.ESTALE] * 10_000))
    assert clock.now == pytest.approx(110.0) and len(noticed) == 1


def test_a_storage_that_is_away_is_waited_for_as_long_as_is_said() -> None:
    clock = Clock()
    with patient(_patience(clock, 10.0, away_seconds=35.0, is_away=lambda: True)), pytest.raises(StorageAwayError):
        repeat_until_done(_failing([errno.EIO] * 10_000))
    assert 135.0 <= clock.now < 146.0


def test_an_operation_that_alone_fails_has_one_more_try_and_is_no_storage_that_is_away() -> None:
    clock = Clock()
    with patient(_patience(clock, 10.0, is_away=lambda: False)), pytest.raises(StorageError) as caught:
        repeat_until_done(_failing([errno.EIO] * 10_000))
    assert not isinstance(caught.value, StorageAwayError) and is_passing(caught.value.__cause__)
    tries = len(clock.slept)
    clock = Clock()
    with patient(_patience(clock, 10.0, is_away=lambda: False)):
        assert repeat_until_done(_failing([errno.EIO] * tries)) == "done"


def test_a_wait_ends_with_what_its_check_raises() -> None:
    def check() -> None:
        raise KeyError("the lease is lost")

    with patient(_patience(Clock(), 10.0, check=check)), pytest.raises(KeyError):
        repeat_until_done(_failing([errno.EIO] * 3))


def test_a_probe_is_over_at_once() -> None:
    with patient(NONE), pytest.raises(OSError, match="Input/output"):
        repeat_until_done(_failing([errno.EIO]))


def test_a_file_that_does_not_appear_is_missing_in_the_end(tmp_path: Path) -> None:
    clock = Clock()
    with patient(_patience(clock, 5.0)), pytest.raises(FileNotFoundError):
        read_awaited(tmp_path / "file", (tmp_path / "file").read_bytes)
    assert clock.now == pytest.approx(105.0)


def test_a_rename_that_was_said_to_have_failed_has_happened(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    rename(tmp_path / "old", tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        rename(tmp_path / "old", tmp_path / "newer")
