"""Whatever lies in a queue, the worker lives, what lies behind it is executed, and a person can see what was refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from pipeline_queue.client import Client
from pipeline_queue.index.dead_letters import MAX_PAYLOAD_BYTES, MAX_ROWS, DeadLetter
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.loading.loader import LoadedPipeline
from tests.bad_messages import UNREADABLE, changed_entries, forged_entries, raw_entries
from tests.conftest import SEED_SCRIPT, SEED_YAML, Cluster, new_cluster, wait_until, write_folder

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "message.v1.json").read_text())
KINDS = [*raw_entries(), *changed_entries(GOLDEN, Path("never")), *forged_entries(GOLDEN)]


@dataclass
class Place:
    """A cluster with one worker, and every bad message made from one that was really on its queue."""

    cluster: Cluster
    worker: subprocess.Popen[bytes]
    redis: Redis
    run_index: RunIndex
    pipeline: LoadedPipeline
    entries: dict[str, bytes]
    witness: Path

    @property
    def client(self) -> Client:
        return self.cluster.client

    def push(self, entry: bytes, queue: str = "default") -> None:
        self.redis.lpush(queue, entry)

    def check_that_work_goes_on(self) -> None:
        run = self.client.submit(self.pipeline, {"learning_rate": 0.01})
        wait_until(lambda: self.has_ended(run) or self.worker.poll() is not None, "the run behind it ends")
        assert self.worker.poll() is None, "the worker ended"
        assert self.client.run(run).state == "succeeded"

    def has_ended(self, run: str) -> bool:
        return self.client.run(run).state in ("succeeded", "failed")

    def refused(self, count: int) -> list[DeadLetter]:
        """The dead list once it has so many rows."""
        wait_until(lambda: self.run_index.dead.count() >= count, f"{count} messages in the dead list")
        return self.run_index.dead.latest()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("bad")
    with new_cluster(folder) as cluster:
        client, witness = cluster.client, folder / "witness"
        pipeline = client.load(
            write_folder(folder / "p", pipeline_yaml=SEED_YAML, train_py=SEED_SCRIPT) / "pipeline.yaml"
        )
        client.submit(pipeline, {"learning_rate": 0.01})
        run_index, redis = RunIndex(cluster.settings.broker_url), cluster.redis()
        (queue,) = redis.keys("default*")
        good: dict[str, Any] = json.loads(redis.lindex(queue, 0) or b"")
        entries = {**raw_entries(), **changed_entries(good, witness), **forged_entries(good)}
        yield Place(cluster, cluster.start_worker(), redis, run_index, pipeline, entries, witness)
        run_index.close()


@pytest.fixture
def clean(place: Place) -> Place:
    place.run_index.dead.clear()
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_message_is_kept_and_the_next_one_executed(clean: Place, kind: str) -> None:
    clean.push(clean.entries[kind])
    clean.check_that_work_goes_on()
    (row,) = clean.refused(1)
    assert (row.queue, row.worker) == ("default", "one@test")
    assert 0 < len(row.reason) <= 400
    assert row.reason.isprintable()
    assert row.payload.isprintable()
    assert len(row.payload.encode()) <= MAX_PAYLOAD_BYTES
    assert not clean.witness.exists()


def test_a_bad_message_leaves_nothing_behind_that_comes_again(clean: Place) -> None:
    for entry in clean.entries.values():
        clean.push(entry)
    clean.check_that_work_goes_on()
    clean.refused(len(clean.entries))
    wait_until(lambda: not clean.redis.hlen("unacked"), "nothing is left unacknowledged")
    assert clean.redis.keys("default*") == []
    assert clean.run_index.dead.count() == len(clean.entries)


def test_thousands_of_bad_messages_are_bounded(clean: Place) -> None:
    pipe = clean.redis.pipeline(transaction=False)
    for _ in range(2000):
        pipe.lpush("default", b"garbage" * 1000)
    pipe.execute()
    clean.check_that_work_goes_on()
    assert 0 < clean.run_index.dead.count() <= MAX_ROWS


@pytest.mark.parametrize("kind", ["no JSON", "a list as task", "a value that was not accepted"])
def test_doctor_shows_and_clears_what_was_refused(clean: Place, tmp_path: Path, kind: str) -> None:
    shell = clean.cluster.shell(tmp_path)
    clean.push(clean.entries[kind])
    (row,) = clean.refused(1)
    checks = {check["name"]: check for check in shell.json("doctor", "--json")["checks"]}
    assert checks["dead messages"]["state"] == "warn"
    for part in ("1 rejected message kept", row.reason, "--dead", "--clear-dead"):
        assert part in checks["dead messages"]["detail"]
    assert row.payload in shell("doctor", "--dead").stdout
    assert shell.json("doctor", "--dead", "--json")["dead"][0]["payload"] == row.payload
    assert "deleted 1 rejected message" in shell("doctor", "--clear-dead").stdout
    assert clean.run_index.dead.count() == 0
    checks = {check["name"]: check for check in shell.json("doctor", "--json")["checks"]}
    assert checks["dead messages"]["state"] == "ok"


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_worker_outlives_what_is_published_on_its_control_channel(clean: Place, kind: str) -> None:
    """Every worker hears that: it would end them all at once."""
    assert clean.redis.publish("/0.celery.pidbox", UNREADABLE[kind]) >= 1
    clean.check_that_work_goes_on()
    clean.check_that_work_goes_on()
