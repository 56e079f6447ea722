"""What workers announce of their steps, how it is read whatever it is, and what the report of the cluster makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue import __version__
from pipeline_queue.contract.idle_folders import IdleFolders
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.index.decoding import MAX_ROW_BYTES, GarbageError
from pipeline_queue.index.worker_registry import MAX_STEPS, LiveWorker, RunningStep, announced_steps, decode_worker
from pipeline_queue.reporting.cluster import QueueReport, cluster_of
from pipeline_queue.reporting.doctor import Check

RUN = "train-7k3m9q2x.4"
OLD_ROW = {
    "v": 1,
    "seen": 1000.0,
    "queues": ["default"],
    "slots": 2,
    "busy": 1,
    "version": "0.1",
    "clock_seconds": 1000.5,
}
STEP = {"slot": 1, "run": RUN, "step": "train", "started_at": 990.0}
RUNNING = RunningStep(1, RUN, "train", 990.0)


def _decoded(**more: Any) -> LiveWorker:
    return decode_worker("one@test", json.dumps({**OLD_ROW, **more}), 1002.0)[1]


def _worker(name: str = "one@test", queues: tuple[str, ...] = ("default",), slots: int = 2, **more: Any) -> LiveWorker:
    return LiveWorker(name, queues, slots, 1, __version__, 0.5, **more)


def test_a_worker_of_an_older_release_has_no_host_and_no_steps() -> None:
    worker = _decoded()
    assert (worker.host, worker.steps, worker.seen_seconds_ago) == ("", (), 2.0)


def test_host_and_steps_are_read_by_slot() -> None:
    first = {**STEP, "slot": 0, "later": "field"}
    worker = _decoded(host="machine", steps=[STEP, first])
    assert worker.host == "machine"
    assert worker.steps == (RunningStep(0, RUN, "train", 990.0), RUNNING)


@pytest.mark.parametrize(
    "steps",
    [
        None,
        {},
        "text",
        3,
        [3],
        [None],
        [[]],
        [{}],
        [{**STEP, "slot": -1}],
        [{**STEP, "slot": True}],
        [{**STEP, "slot": 1.5}],
        [{**STEP, "slot": 10_000}],
        [{**STEP, "run": "../../etc"}],
        [{**STEP, "run": "train-7k3m9q2x"}],
        [{**STEP, "run": 4}],
        [{**STEP, "step": ["train"]}],
        [{**STEP, "step": "x" * 301}],
        [{**STEP, "step": "\ud800"}],
        [{**STEP, "step": "a\x1b[1m"}],
        [{**STEP, "started_at": "now"}],
        [{**STEP, "started_at": -1}],
        [{**STEP, "started_at": float("nan")}],
        [{**STEP, "started_at": float("inf")}],
        [STEP, STEP],
        [{**STEP, "slot": slot} for slot in range(MAX_STEPS + 1)],
    ],
)
def test_wrong_steps_are_garbage(steps: object) -> None:
    with pytest.raises(GarbageError):
        _decoded(steps=steps)


@pytest.mark.parametrize("host", [3, None, ["one"], "\udcff", "x" * 5000])
def test_a_wrong_host_is_garbage(host: object) -> None:
    with pytest.raises(GarbageError):
        _decoded(host=host)


def test_control_characters_in_a_host_are_escaped() -> None:
    assert _decoded(host="a\nb").host == "a\\nb"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*STEP, "x"]), inner, max_size=5),
    max_leaves=12,
)


@given(_JSON)
def test_whatever_is_announced_is_read_or_garbage(steps: object) -> None:
    try:
        worker = _decoded(steps=steps)
    except GarbageError:
        return
    assert isinstance(worker.steps, tuple)


def test_what_is_announced_is_read_back() -> None:
    steps = [RunningStep(3, RUN, "b", 5.0), RUNNING]
    assert _decoded(steps=announced_steps(steps)).steps == (RUNNING, steps[0])


def test_the_steps_of_a_large_worker_leave_its_row_readable() -> None:
    run = f"{'p' * 64}-7k3m9q2x.{10**8}"
    rows = announced_steps(RunningStep(slot, run, "ü" * 64, 1.75e9) for slot in range(1000))
    assert 0 < len(rows) <= MAX_STEPS and [row["slot"] for row in rows] == list(range(len(rows)))
    assert len(json.dumps(rows)) <= MAX_ROW_BYTES // 2
    assert len(announced_steps(RunningStep(slot, RUN, "train", 1.75e9) for slot in range(1000))) == MAX_STEPS


def test_the_report_has_the_shape_that_the_page_reads() -> None:
    steps, idle, warm = (RUNNING,), IdleFolders(3, 5000), WarmPython(1, 2, 3, 4)
    worker = _worker(
        host="machine", steps=steps, idle=idle, warm=warm, holds=("full",), notes=("slow",), seen_seconds_ago=1.5
    )
    checks = [Check("storage", "ok", "is writable", {"free_bytes": 5})]
    assert cluster_of([worker], {"default": 3}, checks, 1000.0).as_json() == {
        "workers": [
            {
                "name": "one@test",
                "host": "machine",
                "queues": ["default"],
                "slots": 2,
                "busy": 1,
                "version": __version__,
                "same_version": True,
                "clock_seconds": 0.5,
                "holds": ["full"],
                "notes": ["slow"],
                "warm": {"processes": 1, "forked": 2, "cold": 3, "shared_bytes": 4},
                "idle": {"folders": 3, "size_bytes": 5000},
                "seen_seconds_ago": 1.5,
                "steps": [STEP],
            }
        ],
        "queues": [{"name": "default", "waiting": 3, "served_by": 1, "slots": 2}],
        "checks": [{"name": "storage", "state": "ok", "detail": "is writable"}],
        "light": "ok",
        "now": 1000.0,
    }


def test_a_worker_without_warm_python_or_host_says_so() -> None:
    (row,) = cluster_of([_decoded()], {}, [], 0.0).as_json()["workers"]
    assert (row["warm"], row["host"], row["same_version"]) == (None, "test", False)


def test_a_queue_with_runs_that_nobody_serves_fails() -> None:
    report = cluster_of([_worker()], {"default": 0, "gpu": 12, "slow": 1, "unused": 0}, [Check("a", "warn", "b")], 0.0)
    assert [queue.name for queue in report.queues] == ["default", "gpu", "slow"]
    assert report.checks[1:] == (
        Check("queue gpu", "fail", "12 runs wait, no worker serves it"),
        Check("queue slow", "fail", "1 run waits, no worker serves it"),
    )
    assert report.light == "fail"


def test_the_slots_of_all_workers_of_a_queue_are_summed() -> None:
    workers = [_worker("a@x", ("gpu", "default"), 4), _worker("b@x", ("default",), 2)]
    queues = cluster_of(workers, {"default": 5}, [], 0.0).queues
    assert queues == (QueueReport("default", 5, 2, 6), QueueReport("gpu", 0, 1, 4))


def test_a_backlog_that_cannot_be_read_is_a_warning() -> None:
    report = cluster_of([_worker()], {"default": None, "gpu": None}, [], 0.0)
    assert [check.state for check in report.checks] == ["warn", "warn"]
    assert report.queues == (QueueReport("default", 0, 1, 2),)


@pytest.mark.parametrize(
    ("states", "light"),
    [((), "ok"), (("ok", "ok"), "ok"), (("ok", "warn"), "warn"), (("warn", "fail", "ok"), "fail")],
)
def test_the_light_is_the_worst_check(states: tuple[Any, ...], light: str) -> None:
    assert cluster_of([], {}, [Check("x", state, "") for state in states], 0.0).light == light
