"""Redis is disposable: emptied, out of memory, robbed of messages; work goes on by itself, nothing is done twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from pipeline_queue.index.connection import connect
from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder

PIPELINE = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - one: {run: step.sh, args: "one ${{ parameters.n }}"}
    - two: {run: step.sh, args: "two ${{ parameters.n }}", RETRIES}
    - three: {run: step.sh, args: "three ${{ parameters.n }}"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Steps tell a witness outside of all storage of their begin and end; they take as long as `wait` says."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE.replace(", RETRIES", ""))
    script = (
        f'#!/bin/sh\necho "begin $*" >> "{tmp_path}/witness"\nread wait < "{tmp_path}/wait"\nsleep "$wait"\n'
        f'[ ! -e "{tmp_path}/fail-$1" ] || exit 7\necho "$*" > "$1.txt"\necho "end $*" >> "{tmp_path}/witness"\n'
    )
    (folder / "step.sh").write_text(script)
    (folder / "step.sh").chmod(0o755)
    (tmp_path / "wait").write_text("0.1\n")
    (tmp_path / "witness").write_text("")
    return folder


@pytest.fixture
def redis(cluster: Cluster) -> Iterator[Redis]:
    redis = connect(cluster.settings.broker_url)
    yield redis
    redis.close()


def _told(folder: Path, what: str) -> Counter[str]:
    lines = (folder.parent / "witness").read_text().splitlines()
    return Counter(line.removeprefix(f"{what} ") for line in lines if line.startswith(what))


def _begun_after_an_end(folder: Path) -> set[str]:
    """The executions that began when the same step had ended: not those of two workers at once, as a server with an
    older memory may bring about, of which one is published."""
    ended, found = set(), set()
    for line in (folder.parent / "witness").read_text().splitlines():
        what, _, name = line.partition(" ")
        if what == "end":
            ended.add(name)
        elif name in ended:
            found.add(name)
    return found


def _once(runs: range) -> dict[str, int]:
    return {f"{step} {n}": 1 for n in runs for step in ("one", "two", "three")}


def test_an_emptied_redis_is_filled_again_and_nothing_is_executed_twice(
    cluster: Cluster, folder: Path, redis: Redis
) -> None:
    workers = [cluster.start_worker(name="one"), cluster.start_worker(name="two")]
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,60)", "--detach").stdout.strip()
    for count in (10, 25):
        wait_until(lambda count=count: cluster.client.sweep(sweep).counts["succeeded"] >= count, f"{count} are done")
        redis.flushall()
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert report.counts["succeeded"] == 60
    assert _told(folder, "end") == _once(range(60))
    assert _told(folder, "begin") == _once(range(60)), "what ran when Redis was emptied went on"
    assert all(worker.poll() is None for worker in workers)


def test_what_was_paused_stays_paused_and_what_was_stopped_stays_stopped(
    cluster: Cluster, folder: Path, redis: Redis
) -> None:
    cluster.start_worker()
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,40)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).counts["succeeded"] >= 2, "some are done")
    shell("pause", sweep)
    wait_until(lambda: cluster.client.sweep(sweep).counts["running"] == 0, "what has begun has ended")
    redis.flushall()
    wait_until(lambda: redis.exists(f"pq1:sweep:{sweep}"), "Redis is filled again")
    assert cluster.client.sweep(sweep).state == "paused"
    shell("resume", sweep)
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 40

    (folder.parent / "fail-two").touch()
    words = ("sweep", "pipeline.yaml", "-p", "n=range(100,200)", "--on-failure", "stop", "--max-failures", "3")
    stopped = shell(*words, "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(stopped).counts["failed"] > 3, "the budget is spent")
    redis.flushall()
    report = cluster.client.wait_sweep(stopped, GENEROUS_SECONDS)
    assert (report.state, report.counts["succeeded"]) == ("stopped", 0)
    assert report.counts["failed"] < 20


def test_used_up_retries_are_not_forgotten_with_redis(cluster: Cluster, folder: Path, redis: Redis) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("RETRIES", "retries: 3"))
    (folder.parent / "fail-two").touch()
    cluster.start_worker()
    run = cluster.shell(folder)("run", "pipeline.yaml", "-p", "n=1", "--detach").stdout.strip()
    wait_until(lambda: _told(folder, "begin")["two 1"] == 2, "the second try")
    wait_until(lambda: cluster.client.run(run).steps[1].state == "retrying", "the third waits")
    redis.flushall()
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "failed"
    assert _told(folder, "begin")["two 1"] == 4


def test_messages_that_get_lost_are_sent_again_and_no_others(cluster: Cluster, folder: Path, redis: Redis) -> None:
    cluster.start_worker()
    sweep = cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=range(0,30)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).counts["succeeded"] >= 5, "some are done")
    lost = 0
    until = time.monotonic() + 2
    while lost < 3 and time.monotonic() < until:
        for name in redis.keys("default*"):
            lost += redis.delete(name)
    assert lost
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert report.counts["succeeded"] == 30
    assert _told(folder, "begin") == _once(range(30))


def test_out_of_memory_pauses_work_and_no_worker_exits(cluster: Cluster, folder: Path, redis: Redis) -> None:
    worker = cluster.start_worker()
    sweep = cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=range(0,30)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).counts["succeeded"] >= 3, "some are done")
    redis.config_set("maxmemory", "1")
    log = cluster.settings.storage.parent / "worker-one.log"
    wait_until(lambda: log.read_text().count("maxmemory") >= 5, "the worker is refused again and again, and says so")
    assert worker.poll() is None
    redis.config_set("maxmemory", "0")
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 30
    assert worker.poll() is None
    assert set(_told(folder, "end")) == set(_once(range(30)))


def _remember(redis: Redis) -> dict[bytes, bytes]:
    """Every key as it is now, as a file of the server's memory would hold it."""
    with _raw(redis) as raw:
        return {name: dumped for name in raw.scan_iter(count=1000) if (dumped := raw.dump(name)) is not None}


def _raw(redis: Redis) -> Redis:
    """A connection to the same server that leaves bytes as they are."""
    known = redis.connection_pool.connection_kwargs
    return Redis(unix_socket_path=known["path"], password=known["password"])


def _restart_with(redis: Redis, memory: dict[bytes, bytes]) -> None:
    """What workers meet when the server came back with an older memory: that, and another run id."""
    with _raw(redis) as raw:
        pipe = raw.pipeline(transaction=True)
        pipe.flushall()
        for name, dumped in memory.items():
            pipe.restore(name, 0, dumped)
        pipe.set("pq1:server", "another server")
        pipe.execute()


@pytest.mark.parametrize("emptied_after", [False, True], ids=["restored", "restored and emptied"])
def test_a_server_with_an_older_memory_counts_right_and_the_sweep_ends(
    cluster: Cluster, folder: Path, redis: Redis, emptied_after: bool
) -> None:
    workers = [cluster.start_worker(name="one"), cluster.start_worker(name="two")]
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,60)", "--detach").stdout.strip()
    (folder.parent / "fail-three").touch()
    wait_until(lambda: cluster.client.sweep(sweep).done >= 3, "some are done")
    memory = _remember(redis)
    wait_until(lambda: cluster.client.sweep(sweep).done >= 20, "more are done")
    (folder.parent / "fail-three").unlink()
    _restart_with(redis, memory)
    if emptied_after:
        wait_until(lambda: cluster.client.sweep(sweep).done >= 35, "it continues")
        redis.flushall()
    wait_until(lambda: cluster.client.sweep(sweep).done >= 50, "it continues")
    seen = cluster.client.sweep(sweep).counts
    assert min(seen.values()) >= 0 and sum(seen.values()) == 60
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    end = wait_until(lambda: cluster.client._storage().sweep_end(sweep), "its end is written")
    ends = Counter(run.state for run in cluster.client.runs_of(sweep))
    assert end.counts == {"succeeded": ends["succeeded"], "failed": ends["failed"], "cancelled": 0}
    assert sum(end.counts.values()) == 60 and ends["failed"] >= 3
    assert sum(group.count for group in end.failures) == ends["failed"]
    assert report.counts["succeeded"] + report.counts["failed"] == 60
    assert _begun_after_an_end(folder) == set(), "nothing published is executed again"
    assert all(worker.poll() is None for worker in workers)
