"""How an attempt ended, in plain words; metrics read from whatever a step wrote."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract import records
from pipeline_queue.contract.records import OutputFile
from pipeline_queue.contract.wording import exact_duration
from pipeline_queue.model.pipeline import Step
from pipeline_queue.storage.files import read_end
from workers.outcome import Failure, blamed_on_disk, describe_signal, failure_of, last_lines, sizes, with_tail
from workers.outputs import Found
from workers.supervisor.protocol import Cause, ExecutionResult

STEP = Step(name="train", argv=(("true",),), timeout_seconds=5400.0, memory_bytes=10**9, outputs=("model.pkl", "sub"))
LEFT = Found((OutputFile(path="model.pkl", size=1), OutputFile(path="sub/x", size=1)), (), ())
NOTHING = Found((), (), ())


def _result(cause: Cause, exit_code: int | None = None, signal: int | None = None, **more: Any) -> ExecutionResult:
    fields: dict[str, Any] = {
        "id": "0", "cause": cause, "reason": None, "exit_code": exit_code, "signal": signal, "error": None,
        "infrastructure": False, "seconds": 1.0, "max_rss_bytes": 0, "memory_bytes": None, "log_bytes": 0, "log_dropped_bytes": 0,
    }  # fmt: skip
    return ExecutionResult(**{**fields, **more})


@pytest.mark.parametrize(
    ("result", "found", "cause", "said", "infrastructure"),
    [
        (_result(Cause.EXITED, 7), None, "exit_code", "step train failed with exit code 7", False),
        (_result(Cause.SIGNALLED, signal=11), None, "signal", "signal 11 (SIGSEGV)", False),
        (_result(Cause.SIGNALLED, signal=9), None, "signal", "lack of memory", False),
        (_result(Cause.TIMEOUT, 0), None, "timeout", "timeout of 90 min", False),
        (_result(Cause.MEMORY, signal=9, memory_bytes=1_200_000_000), None, "memory", "1.2 GB of memory, its limit is 1 GB", False),
        (_result(Cause.OUT_OF_MEMORY, signal=9), None, "memory", "the machine or its container ran out of memory", False),
        (_result(Cause.STOPPED, signal=15), None, "cancelled", "was cancelled", False),
        (_result(Cause.LEASE_LOST, signal=9), None, "lost", "lost contact with the broker", True),
        (_result(Cause.NOT_STARTED, error="no such program"), None, "not_started", "no such program", False),
        (_result(Cause.NOT_STARTED, error="no log", infrastructure=True), None, "not_started", "no log", True),
        (_result(Cause.EXITED, 0), NOTHING, "missing_outputs", "model.pkl, sub", False),
    ],
)  # fmt: skip
def test_each_end_has_its_cause_and_words(
    result: ExecutionResult, found: Found | None, cause: str, said: str, infrastructure: bool
) -> None:
    failure = failure_of(STEP, result, found)
    assert failure is not None
    assert (failure.cause, failure.infrastructure) == (cause, infrastructure)
    assert said in failure.message and "train" in failure.message


def test_exit_code_0_with_the_declared_outputs_is_success() -> None:
    assert failure_of(STEP, _result(Cause.EXITED, 0), LEFT) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1 s"), (90, "90 s"), (120, "2 min"), (7200, "2 h"), (86400, "1 d"), (0.5, "0.5 s")]
)
def test_durations_are_said_exactly(seconds: float, text: str) -> None:
    assert exact_duration(seconds) == text


def test_an_unknown_signal_has_its_number() -> None:
    assert describe_signal(200) == "signal 200"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n\n \n", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"10 %\r20 %\r30 %\n", ["10 %", "20 %", "30 %"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd"]),
        (b"".join(b"%d\n" % number for number in range(100)), [str(number) for number in range(90, 100)]),
    ],
)
def test_the_last_lines_of_a_log_are_shown(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)
    assert last_lines(partial(read_end, log)) == lines
    assert ("the log ends with" in with_tail("it failed", partial(read_end, log))) is bool(lines)


def test_a_log_of_one_endless_line_is_cut_and_one_that_is_not_there_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 10_000_000)
    assert sum(map(len, last_lines(partial(read_end, log)))) <= 4096
    assert with_tail("it failed", partial(read_end, tmp_path / "absent")) == "it failed; its log is empty"


@pytest.mark.parametrize(
    ("used", "limit", "texts"),
    [
        (2_100_000_000, 2 * 10**9, ("2.1 GB", "2 GB")),
        (2_000_100_000, 2 * 10**9, ("2.0001 GB", "2 GB")),
        (3 * 1024**3, 2 * 1024**3, ("3 GiB", "2 GiB")),
        (600_000_000, 512_000_000, ("600 MB", "512 MB")),
        (600 * 1024**2, 512 * 1024**2, ("600 MiB", "512 MiB")),
        (2_000_000_000, 1_500_000_000, ("2 GB", "1.5 GB")),
        (1_500_000, 1_000_000, ("1.5 MB", "1 MB")),
        (9 * 10**12, 8 * 10**12, ("9 TB", "8 TB")),
    ],
)
def test_memory_is_said_in_the_unit_of_its_limit(used: int, limit: int, texts: tuple[str, str]) -> None:
    assert sizes(used, limit) == texts


@pytest.mark.parametrize("cause", ["exit_code", "signal", "missing_outputs"])
def test_a_step_that_failed_beside_a_full_disk_failed_for_that_and_is_tried_again(cause: records.Cause) -> None:
    failure = Failure(cause, "step train failed with exit code 7")
    blamed = blamed_on_disk(failure, "the scratch disk is full", is_full=True)
    assert blamed.message == "step train failed with exit code 7 while the scratch disk is full"
    assert (blamed.cause, blamed.infrastructure, blamed.is_death) == ("storage", True, True)
    assert blamed.delay_seconds > failure.delay_seconds
    assert blamed_on_disk(failure, "", is_full=False) == failure


@pytest.mark.parametrize("cause", ["timeout", "memory", "cancelled", "lost", "storage"])
def test_a_full_disk_is_not_to_blame_for_what_has_another_cause(cause: records.Cause) -> None:
    failure = Failure(cause, "step train ended")
    assert blamed_on_disk(failure, "the scratch disk is full", is_full=True) == failure
