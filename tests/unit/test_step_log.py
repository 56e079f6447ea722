"""What a step's log keeps, drops and says about it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from workers.supervisor.step_log import StepLog


def test_a_log_within_its_limit_holds_exactly_what_was_said(tmp_path: Path) -> None:
    log = StepLog(str(tmp_path / "log"), 6)
    log.append(b"\xff\0\n")
    log.append(b"abc")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"\xff\0\nabc"
    assert (log.written_bytes, log.dropped_bytes) == (6, 0)


def test_a_log_over_its_limit_keeps_the_beginning_and_counts_the_rest(tmp_path: Path) -> None:
    log = StepLog(str(tmp_path / "log"), 4)
    log.append(b"abc")
    log.append(b"def")
    log.append(b"ghi")
    log.close()
    note = b"\n[pipeline_queue: the log reached its limit of 4 bytes; 5 bytes were dropped]\n"
    assert (tmp_path / "log").read_bytes() == b"abcd" + note
    assert (log.written_bytes, log.dropped_bytes) == (4, 5)


def _fail(monkeypatch: pytest.MonkeyPatch, outcomes: Iterable[OSError | int]) -> None:
    """Has these become of the next writes: an error, or so many bytes written."""
    real, left = os.write, iter(outcomes)

    def write(descriptor: int, data: bytes) -> int:
        outcome = next(left, None)
        if isinstance(outcome, OSError):
            raise outcome
        return real(descriptor, data[:outcome])

    monkeypatch.setattr(os, "write", write)


def test_what_could_not_be_written_is_written_with_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = StepLog(str(tmp_path / "log"), 100)
    _fail(monkeypatch, [OSError(28, "No space left on device"), 2, OSError(116, "Stale file handle")])
    for text in (b"one ", b"two ", b"three"):
        log.append(text)
    log.close()
    assert (tmp_path / "log").read_bytes() == b"one two three"
    assert (log.written_bytes, log.dropped_bytes) == (13, 0)


def test_what_could_not_be_written_to_the_end_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = StepLog(str(tmp_path / "log"), 8)
    log.append(b"kept")
    _fail(monkeypatch, [OSError(5, "Input/output error")] * 5)
    log.append(b"late")
    log.append(b"over")
    left = log.close()
    assert left == b"late\n[pipeline_queue: the log reached its limit of 8 bytes; 4 bytes were dropped]\n"
    assert (tmp_path / "log").read_bytes() == b"kept"
    assert (log.written_bytes, log.dropped_bytes) == (8, 4)


def test_more_than_can_be_kept_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = StepLog(str(tmp_path / "log"), 10_000_000)
    _fail(monkeypatch, [OSError(28, "No space left on device")] * 2)
    log.append(b"x" * 1024 * 1024)
    log.append(b"y" * 1000)
    assert log.close() == b""
    note = b"\n[pipeline_queue: 1000 bytes could not be written: No space left on device]\n"
    assert (tmp_path / "log").read_bytes() == b"x" * 1024 * 1024 + note
    assert log.dropped_bytes == 1000


def test_a_pipe_in_the_place_of_a_log_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device"):
        StepLog(str(tmp_path / "log"), 4)
