"""With a signing key on both sides: signed runs are executed, others refused, and the key shows up nowhere."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline_queue.client import Client
from pipeline_queue.contract.errors import SettingsError
from pipeline_queue.contract.settings import SIGNING_KEY_FILE, Settings
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.loading.loader import LoadedPipeline
from tests.bad_messages import Message, body_of, with_body
from tests.conftest import SEED_SCRIPT, SEED_YAML, Cluster, new_cluster, wait_until, write_folder

KEY = "confidential-0123456789-abcdefgh"
TWO_STEPS = """\
pipeline:
  parameters:
    - {name: learning_rate, type: float}
  steps:
    - prepare: {run: say.py, args: "a ${{ parameters.learning_rate }}"}
    - train_model: {run: say.py, args: b, queue: gpu}
"""
SAY = "import os, sys\nprint(sys.argv, dict(os.environ))\nopen(sys.argv[1], 'w').close()\n"


def write_key(path: Path, text: str = KEY) -> Path:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with new_cluster(tmp_path, signing_key_file=write_key(tmp_path / "key")) as made:
        yield made


def other_client(cluster: Cluster, stack: ExitStack, key: Path | None) -> Client:
    """A submitter with another key, or none."""
    there = cluster.settings
    return stack.enter_context(
        Client(there.storage, Settings(there.broker_url, there.storage, there.scratch, signing_key_file=key))
    )


def loaded(cluster: Cluster, text: str = TWO_STEPS) -> LoadedPipeline:
    folder = write_folder(cluster.settings.storage.parent / "p", pipeline_yaml=text, say_py=SAY, train_py=SEED_SCRIPT)
    return cluster.client.load(folder / "pipeline.yaml")


def wait_for_dead(run_index: RunIndex, count: int) -> list[str]:
    wait_until(lambda: run_index.dead.count() >= count, f"{count} refused messages")
    return [row.reason for row in run_index.dead.latest()]


@pytest.fixture
def run_index(cluster: Cluster) -> Iterator[RunIndex]:
    made = RunIndex(cluster.settings.broker_url)
    yield made
    made.close()


def test_a_signed_chain_is_executed_over_two_queues_and_nothing_tells_the_key(
    cluster: Cluster, run_index: RunIndex
) -> None:
    run = cluster.client.submit(loaded(cluster), {"learning_rate": 0.01})
    redis = cluster.redis()
    kept = b"".join(redis.dump(name) or b"" for name in redis.keys("*"))
    worker = cluster.start_worker("--concurrency", "2", "--queues", "default,gpu")
    assert cluster.client.wait(run, timeout_seconds=120).state == "succeeded"
    folder = cluster.settings.storage.parent
    files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "key")
    assert b"prepare" in files
    for where in (kept, files, Path(f"/proc/{worker.pid}/cmdline").read_bytes()):
        assert KEY.encode() not in where
        assert b"SIGNING_KEY" not in where
    assert run_index.dead.count() == 0


def test_unsigned_and_altered_messages_are_refused(cluster: Cluster, run_index: RunIndex, tmp_path: Path) -> None:
    pipeline = loaded(cluster, SEED_YAML)
    values = {"learning_rate": 0.01}
    with ExitStack() as stack:
        other_client(cluster, stack, None).submit(pipeline, values)
        other_client(cluster, stack, write_key(tmp_path / "other", KEY[::-1])).submit(pipeline, values)
    redis = cluster.redis()
    cluster.client.submit(pipeline, values)
    (queue,) = redis.keys("default*")
    signed: Message = json.loads(cast(bytes, redis.lpop(queue)))
    second = cluster.client.submit(pipeline, {"learning_rate": 0.02})
    # The signature of one run on another's message, and one moved to another queue.
    theirs: Message = json.loads(redis.lindex(queue, 0) or b"")
    redis.lpush(queue, json.dumps(with_body(theirs, body_of(signed)[0][0]["sig"], 0, 0, "sig")))
    moved = json.loads(json.dumps(signed))
    moved["properties"]["delivery_info"]["routing_key"] = "gpu"
    redis.lpush("gpu", json.dumps(moved))
    cluster.start_worker("--concurrency", "2", "--queues", "default,gpu")
    reasons = wait_for_dead(run_index, 4)
    assert sorted("not signed" in reason for reason in reasons) == [False, False, False, True]
    assert sum("altered, or signed with another key" in reason for reason in reasons) == 3
    assert cluster.client.wait(second, timeout_seconds=120).state == "succeeded"
    assert base64.b64decode(signed["body"])


def test_a_worker_without_a_key_takes_signed_messages(cluster: Cluster, run_index: RunIndex) -> None:
    run = cluster.client.submit(loaded(cluster, SEED_YAML), {"learning_rate": 0.01})
    there = cluster.settings
    cluster.settings = Settings(there.broker_url, there.storage, there.scratch)
    cluster.start_worker()
    assert cluster.client.wait(run, timeout_seconds=120).state == "succeeded"
    assert run_index.dead.count() == 0


def test_a_sweep_that_workers_feed_goes_on_with_an_older_key(cluster: Cluster, run_index: RunIndex) -> None:
    """The worker has the new key and accepts the old one, the submitter is still on the old."""
    new = write_key(cluster.settings.storage.parent / "new", f"{KEY[::-1]}\n{KEY}")
    pipeline = loaded(cluster, SEED_YAML)
    shell = cluster.shell(pipeline.folder)
    sweep = shell.start("sweep", "pipeline.yaml", "-p", "learning_rate=linspace(0.01,0.4,40)", "--json")
    there = cluster.settings
    cluster.settings = Settings(there.broker_url, there.storage, there.scratch, signing_key_file=new)
    cluster.start_worker()
    out, err = sweep.communicate(timeout=120)
    assert json.loads(out)["counts"]["succeeded"] == 40, err
    assert run_index.dead.count() == 0


@pytest.mark.parametrize("what", ["missing", "readable by all", "short"])
def test_an_unusable_key_is_refused_before_anything_is_written(cluster: Cluster, what: str) -> None:
    key = cluster.settings.signing_key_file
    assert key is not None
    pipeline = loaded(cluster, SEED_YAML)
    match what:
        case "missing":
            key.unlink()
        case "readable by all":
            key.chmod(0o644)
        case "short":
            write_key(key, "sesame")
    shell = cluster.shell(pipeline.folder)
    done = shell("run", "pipeline.yaml", "-p", "learning_rate=0.1", exit_code=2)
    assert str(key) in done.stderr
    assert not list(cluster.settings.storage.glob("sweeps/*"))
    with pytest.raises(SettingsError):
        cluster.client.submit(pipeline, {"learning_rate": 0.01})
    checks: list[dict[str, Any]] = shell.json("doctor", "--json", exit_code=3)["checks"]
    assert [check["state"] for check in checks if check["name"] == "signing"] == ["fail"]
    worker = subprocess.run(
        [sys.executable, "-P", "-m", "workers", "worker"],
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert worker.returncode == 2
    assert str(key) in worker.stderr
    assert "Traceback" not in worker.stderr


def test_the_embedded_server_needs_no_signatures(shell: Any, tmp_path: Path) -> None:
    shell.environment[SIGNING_KEY_FILE] = str(tmp_path / "none")
    assert shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.1", "--json")["state"] == "succeeded"
