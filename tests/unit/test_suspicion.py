"""Whether a step or its machine failed: what is suspicious, who is asked, who pauses and who goes on."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_queue.index.live_runs import LiveRun, LiveStep
from pipeline_queue.index.worker_registry import LiveWorker
from workers.outcome import Failure
from workers.suspicion import (
    MAX_PAUSE_SECONDS,
    Sign,
    Suspect,
    Tried,
    handed_on,
    interpreter_failure,
    is_borne_out,
    is_proven,
    is_suspicious,
    is_void,
    needs_probe,
    next_pause_seconds,
    opinion_of,
    peers_of,
    should_pause,
    should_reopen,
    to_avoid,
    untried,
)

ME, PEER, THIRD = "a@one", "b@two", "c@three"
SILENT = Sign("exit_code", 0.1, 0, exit_code=1)
FAILURE = Failure("exit_code", "step train failed with exit code 1")


def _worker(name: str, queues: tuple[str, ...] = ("default",), holds: tuple[str, ...] = ()) -> LiveWorker:
    return LiveWorker(name, queues, 2, 0, "1", 0.0, holds=holds)


def _suspects(*opinions: str) -> list[Suspect]:
    return [Suspect(f"s.{number}", "train", "", opinion) for number, opinion in enumerate(opinions)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        (SILENT, True),
        (Sign("exit_code", 30.0, 0, exit_code=1), False),
        (Sign("exit_code", 0.1, 40, exit_code=1, line="loss is nan"), False),
        (Sign("exit_code", 9.0, 40, exit_code=1, line="ModuleNotFoundError: No module named 'numpy'"), True),
        (Sign("exit_code", 900.0, 40, exit_code=1, line="ImportError: cannot import name 'x'"), False),
        (Sign("exit_code", 0.1, 40, exit_code=127, line="sh: 1: nvcc: not found"), True),
        (Sign("signal", 0.1, 12, signal=4), True),
        (Sign("signal", 0.1, 12, signal=9), False),
        (Sign("not_started", 0.0, 0), True),
        (Sign("missing_outputs", 0.01, 0, exit_code=0), True),
        (Sign("timeout", 1.0, 0), False),
        (Sign("memory", 1.0, 0), False),
        (Sign("cancelled", 1.0, 0), False),
    ],
)
def test_only_an_end_at_once_or_for_want_of_something_makes_a_machine_suspect(sign: Sign, expected: bool) -> None:
    assert is_suspicious(sign) is expected


def test_an_interpreter_that_showed_a_traceback_is_not_started_to_see_whether_it_works() -> None:
    said = Sign("exit_code", 0.2, 400, exit_code=1, line="ValueError: bad")
    assert not needs_probe(said, line_is_of_python=True)
    assert needs_probe(said, line_is_of_python=False)
    assert needs_probe(SILENT, line_is_of_python=False)
    assert not needs_probe(Sign("exit_code", 60.0, 0, exit_code=1), line_is_of_python=False)
    assert not needs_probe(Sign("timeout", 1.0, 0), line_is_of_python=False)


def test_only_a_python_step_that_left_nothing_at_once_is_doubted_when_it_succeeds() -> None:
    assert is_void(True, 0.002, 0, 0)
    for is_python, seconds, log_bytes, outputs in ((False, 0.002, 0, 0), (True, 2.0, 0, 0), (True, 0.002, 1, 0)):
        assert not is_void(is_python, seconds, log_bytes, outputs)
    assert not is_void(True, 0.002, 0, 1)


def test_peers_serve_the_queue_and_take_steps_now() -> None:
    rows = [_worker(ME), _worker(PEER), _worker(THIRD, ("gpu",)), _worker("d@four", holds=("its disk is full",))]
    assert peers_of(ME, "default", rows) == (PEER,)


def test_where_there_are_several_hosts_another_worker_of_the_same_host_is_not_asked() -> None:
    assert untried(ME, Tried(), ("z@one", PEER)) == (PEER,)
    assert untried(ME, Tried(("@two",)), ("z@one", PEER, THIRD)) == (THIRD,)
    assert to_avoid(ME, Tried(("@two",)), ("z@one", PEER, THIRD)) == ("@two", "@one")


def test_on_one_host_its_other_workers_are_asked() -> None:
    assert untried("a@h", Tried(), ("b@h",)) == ("b@h",)
    assert to_avoid("a@h", Tried(), ("b@h",)) == ("a@h",)


def test_a_retry_is_kept_from_the_last_worker_when_all_have_failed_it_and_from_nobody_without_others() -> None:
    assert to_avoid(ME, Tried(("@two",)), (PEER,)) == ("@one",)
    assert to_avoid(ME, Tried(("@two",)), ()) == ()


@pytest.mark.parametrize(
    ("sign", "tried", "peers", "is_shared", "expected"),
    [
        (SILENT, Tried(), (PEER,), False, True),
        (SILENT, Tried(), (), False, False),
        (SILENT, Tried(("@two",), 1), (PEER,), False, False),
        (SILENT, Tried(("@two",), 1), (PEER, THIRD), False, True),
        (SILENT, Tried(("@two",), 2), (PEER, THIRD), False, False),
        (Sign("exit_code", 600.0, 90, exit_code=1), Tried(), (PEER,), False, False),
        (Sign("exit_code", 600.0, 90, exit_code=1), Tried(), (PEER,), True, True),
        (Sign("exit_code", 600.0, 90, exit_code=1), Tried(("@two",)), (PEER, THIRD), True, False),
        (Sign("exit_code", 600.0, 90, exit_code=1), Tried(("@one",), 1), (PEER,), True, False),
    ],
)
def test_a_failure_is_handed_on_within_bounds(
    sign: Sign, tried: Tried, peers: tuple[str, ...], is_shared: bool, expected: bool
) -> None:
    assert handed_on(FAILURE, sign, ME, tried, peers, is_shared).is_handed_on is expected


@pytest.mark.parametrize("cause", ["timeout", "memory", "cancelled", "lost", "storage"])
def test_a_limit_a_cancel_or_a_machine_is_never_handed_on(cause: Any) -> None:
    failure = Failure(cause, "it ended", infrastructure=cause in ("lost", "storage"))
    sign = Sign(cause, 0.1, 0)
    assert handed_on(failure, sign, ME, Tried(), (PEER,), is_shared=True) == failure


@pytest.mark.parametrize(
    ("opinions", "is_on_trial", "expected"),
    [
        (("none", "none"), False, False),
        (("none", "none", "none"), False, True),
        (("succeeded", "none", "none"), False, True),
        (("failed", "none", "none"), False, False),
        (("failed", "succeeded", "none"), False, False),
        (("failed", "succeeded", "succeeded"), False, True),
        (("none",), True, True),
        (("failed",), True, False),
    ],
)
def test_a_worker_pauses_when_several_runs_in_a_row_end_at_once_here_alone(
    opinions: tuple[str, ...], is_on_trial: bool, expected: bool
) -> None:
    assert should_pause(_suspects(*opinions), is_on_trial) is expected


def test_one_run_whose_steps_fail_again_and_again_pauses_nobody() -> None:
    assert not should_pause([Suspect("s.1", step, "") for step in ("a", "b", "c", "d")], False)


@pytest.mark.parametrize(
    ("is_proven_bad", "others", "open_others", "seconds", "expected"),
    [
        (False, 1, 1, 1.0, False),
        (False, 1, 1, 15.0, True),
        (True, 1, 1, 1.0, False),
        # All pause: of whom nothing is proven goes on; who is proven bad waits as long as others live.
        (False, 1, 0, 1.0, True),
        (True, 1, 0, 1.0, False),
        (True, 0, 0, 1.0, True),
    ],
)
def test_a_pause_ends_after_its_time_or_when_nobody_else_does_the_work(
    is_proven_bad: bool, others: int, open_others: int, seconds: float, expected: bool
) -> None:
    assert should_reopen(is_proven_bad, others, open_others, seconds, 15.0) is expected


@pytest.mark.parametrize(
    ("opinions", "is_bad", "is_right"),
    [
        (("none", "none", "none"), False, False),
        (("failed", "none", "none"), False, True),
        (("succeeded", "none", "none"), True, False),
        (("succeeded", "failed", "none"), False, True),
        (("succeeded", "failed", "succeeded"), True, False),
        ((), False, False),
    ],
)
def test_what_others_made_of_the_steps_says_who_is_to_blame(
    opinions: tuple[str, ...], is_bad: bool, is_right: bool
) -> None:
    assert is_proven(_suspects(*opinions)) is is_bad
    assert is_borne_out(_suspects(*opinions)) is is_right


def test_pauses_grow_up_to_a_limit() -> None:
    pauses = [0.0]
    for _ in range(10):
        pauses.append(next_pause_seconds(pauses[-1]))
    assert pauses[1:4] == [15.0, 30.0, 60.0]
    assert pauses[-1] == MAX_PAUSE_SECONDS


@pytest.mark.parametrize(
    ("worker", "state", "expected"),
    [
        (PEER, "succeeded", "succeeded"),
        (PEER, "failed", "failed"),
        (PEER, "retrying", "failed"),
        (PEER, "running", "none"),
        (ME, "retrying", "none"),
        (ME, "succeeded", "none"),
    ],
)
def test_an_opinion_is_what_another_worker_made_of_the_step(worker: str, state: Any, expected: str) -> None:
    step = LiveStep(state, 2, None, None, "", worker, None)
    run = LiveRun("running", False, None, None, None, {"train": step})
    assert opinion_of(_suspects("none")[0], ME, run) == expected
    assert opinion_of(_suspects("none")[0], ME, None) == "none"
    assert opinion_of(_suspects("succeeded")[0], ME, run) == "succeeded"


def test_an_unusable_interpreter_of_the_worker_counts_only_beyond_a_bound() -> None:
    first = interpreter_failure("train", "the interpreter is not there", 1, 3, True)
    assert (first.infrastructure, first.is_death) == (True, False)
    assert interpreter_failure("train", "the interpreter is not there", 14, 3, True).is_death


def test_an_unusable_interpreter_of_a_submission_ends_its_runs_and_not_the_worker() -> None:
    failure = interpreter_failure("train", "the interpreter is not there", 1, 0, False)
    assert (failure.infrastructure, failure.is_death, failure.is_of_worker) == (True, True, False)
