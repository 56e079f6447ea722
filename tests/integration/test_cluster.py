"""What the client shows of a real cluster: the steps that run with their slots, what waits, and where nobody serves."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

from pipeline_queue.broker.message import lists_of
from pipeline_queue.index import keys
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.worker_registry import LiveWorker, RunningStep
from pipeline_queue.reporting.cluster import ClusterReport, QueueReport
from tests.conftest import Cluster, wait_until, write_folder

PIPELINE = """\
pipeline:
  parameters:
    - {name: gate, type: string}
  steps:
    - first: {run: [sh, -c, 'until [ -e "$0" ]; do sleep 0.05; done', "${{ parameters.gate }}"]}
"""
ELSEWHERE = "pipeline:\n  steps:\n    - train: {run: 'true', queue: gpu}\n"


def _submit(cluster: Cluster, folder: Path, text: str, **values: str) -> str:
    client = cluster.client
    write_folder(folder, pipeline_yaml=text)
    return client.submit(client.load(folder / "pipeline.yaml"), values)


def _step_of(workers: list[LiveWorker], run: str) -> RunningStep | None:
    return next((step for worker in workers for step in worker.steps if step.run == run), None)


def _shown_step(cluster: Cluster, run: str) -> RunningStep:
    found: RunningStep = wait_until(lambda: _step_of(cluster.client.workers(), run), f"the worker announces {run}")
    return found


def _queues(report: ClusterReport) -> dict[str, QueueReport]:
    return {queue.name: queue for queue in report.queues}


def test_running_steps_keep_their_slots_and_the_lowest_free_one_is_next(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker()
    gates = {name: tmp_path / name for name in ("a", "b", "c")}
    before = time.time() - 1
    a = _submit(cluster, tmp_path / "project", PIPELINE, gate=str(gates["a"]))
    assert _shown_step(cluster, a).slot == 0
    b = _submit(cluster, tmp_path / "project", PIPELINE, gate=str(gates["b"]))
    shown = _shown_step(cluster, b)
    assert (shown.slot, shown.step) == (1, "first") and before < shown.started_at < time.time() + 1
    c = _submit(cluster, tmp_path / "project", PIPELINE, gate=str(gates["c"]))

    # Celery's worker may hold a message that it has not begun.
    report = cluster.client.cluster()
    (worker,) = report.workers
    assert (worker.host, worker.slots, worker.busy) == (socket.gethostname(), 2, 2)
    assert [(step.slot, step.run) for step in worker.steps] == [(0, a), (1, b)]
    assert 0 <= worker.seen_seconds_ago <= 15
    queue = _queues(report)["default"]
    assert queue.waiting <= 1 and (queue.served_by, queue.slots) == (1, 2)
    assert {check.name for check in report.checks} >= {"storage", "broker", "worker one@test", "queues"}
    assert report.as_json()["workers"][0]["steps"][1] == {
        "slot": 1, "run": b, "step": "first", "started_at": shown.started_at
    }  # fmt: skip

    gates["a"].touch()
    assert _shown_step(cluster, c).slot == 0
    assert _shown_step(cluster, b) == shown
    for gate in gates.values():
        gate.touch()
    for run in (a, b, c):
        cluster.client.wait(run, 120, check=True)
    wait_until(lambda: not cluster.client.workers()[0].steps, "no step is announced any more")


def test_a_queue_that_nobody_serves_is_a_failed_check(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.client.cluster().queues == ()
    cluster.start_worker()
    for _ in range(3):
        _submit(cluster, tmp_path / "project", ELSEWHERE)
    report = cluster.client.cluster()
    assert _queues(report)["gpu"] == QueueReport("gpu", 3, 0, 0)
    assert "3 runs wait, no worker serves it" in {one.detail for one in report.checks if one.name == "queue gpu"}
    assert report.light == "fail"

    cluster.start_worker("--queues", "gpu", "--concurrency", "1", name="two")
    wait_until(lambda: not _queues(cluster.client.cluster())["gpu"].waiting, "the worker takes them")
    report = cluster.client.cluster()
    assert _queues(report)["gpu"].served_by == 1
    assert "queue gpu" not in {check.name for check in report.checks}


def test_all_lists_of_a_queue_count_and_foreign_keys_stay(cluster: Cluster) -> None:
    redis, run_index = cluster.redis(), RunIndex(cluster.settings.broker_url)
    for name in lists_of("gpu"):
        redis.lpush(name, "x", "y")
    redis.set("other", "program")
    waiting = run_index.workers.backlogs.waiting(["gpu", "none", "other", keys.WORKERS])
    assert waiting == {"gpu": 8, "none": 0, "other": None, keys.WORKERS: 0}
    assert redis.get("other") == b"program"
    run_index.close()


def test_backlogs_are_read_in_one_round_trip_of_plain_counts(cluster: Cluster) -> None:
    redis, run_index = cluster.redis(), RunIndex(cluster.settings.broker_url)
    redis.config_resetstat()
    assert run_index.workers.backlogs.waiting(f"q{number}" for number in range(20)) == dict.fromkeys(
        sorted(f"q{number}" for number in range(20)), 0
    )
    calls = {name: figures["calls"] for name, figures in redis.info("commandstats").items()}
    assert calls["cmdstat_llen"] == 80
    assert not {"cmdstat_keys", "cmdstat_scan"} & calls.keys()
    assert run_index.workers.backlogs.waiting([]) == {}
    run_index.close()


def test_a_worker_whose_steps_are_garbage_is_dropped_and_the_others_stay(cluster: Cluster) -> None:
    cluster.start_worker()
    redis = cluster.redis()
    row = json.loads(redis.hget(keys.WORKERS, "one@test") or "")
    redis.hset(keys.WORKERS, "wrong@test", json.dumps({**row, "steps": [{"slot": "x"}]}))
    assert [worker.name for worker in cluster.client.cluster().workers] == ["one@test"]
    assert not redis.hexists(keys.WORKERS, "wrong@test")
