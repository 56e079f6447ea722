"""What a step's log keeps, drops and says about it."""

from __future__ import annotations

import os
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


def test_writes_are_tried_again_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = StepLog(str(tmp_path / "log"), 100)
    real = os.write
    outcomes = iter([OSError(28, "No space left on device"), 2, OSError(5, "Input/output error")])

    def write(descriptor: int, data: bytes) -> int:
        outcome = next(outcomes, None)
        if isinstance(outcome, OSError):
            raise outcome
        return real(descriptor, data[:outcome])

    monkeypatch.setattr(os, "write", write)
    log.append(b"lost")
    log.append(b"half")
    log.append(b"whole")
    log.close()
    note = b"\n[pipeline_queue: 6 bytes could not be written: Input/output error]\n"
    assert (tmp_path / "log").read_bytes() == b"hawhole" + note
    assert (log.written_bytes, log.dropped_bytes) == (7, 6)


def test_a_pipe_in_the_place_of_a_log_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device"):
        StepLog(str(tmp_path / "log"), 4)
