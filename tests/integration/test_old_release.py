"""What the release before the first layout left, a storage and the content of its Redis, is read, continued and finished.

`tests/golden/old_release` was written by that release: a run that succeeded, a sweep with a failed run, and a sweep of six
whose worker was killed when three had succeeded, two were executing and one was queued. Redis' content is kept as commands
would write it, so that any server can be given it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster, new_cluster

OLD = Path(__file__).resolve().parents[1] / "golden/old_release"
RUN, FAILED, GOING = "old-t0fpndv6.0", "old-e3c00n9f", "old-dxe1v017"
LOST_RUNS = (3, 4, 5)


def _restore(cluster: Cluster) -> None:
    """Writes the old server's keys; what it held for some seconds only is kept for as long again."""
    redis = cluster.redis()
    writers: dict[str, Any] = {
        "string": lambda key, value: redis.set(key, _bytes(value)),
        "hash": lambda key, value: redis.hset(key, mapping={_bytes(k): _bytes(v) for k, v in value.items()}),
        "set": lambda key, value: redis.sadd(key, *map(_bytes, value)),
        "zset": lambda key, value: redis.zadd(key, {_bytes(name): score for name, score in value}),
        "list": lambda key, value: redis.rpush(key, *map(_bytes, value)),
    }
    for name, entry in json.loads((OLD / "redis.json").read_text())["keys"].items():
        writers[entry["type"]](_bytes(name), entry["value"])
        if entry["seconds"]:
            redis.expire(_bytes(name), entry["seconds"])


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _published(storage: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(storage)): path.read_bytes()
        for path in sorted(storage.rglob("*"))
        if path.is_file() and "attempt-" not in str(path) and ".json" not in path.suffixes
    }


@pytest.fixture(params=["with its Redis", "with an empty Redis"])
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    shutil.copytree(OLD / "storage", tmp_path / "storage", symlinks=True)
    with new_cluster(tmp_path) as cluster:
        if request.param == "with its Redis":
            _restore(cluster)
        yield cluster


def test_an_old_sweep_is_finished_and_what_it_published_stays(old: Cluster) -> None:
    before = _published(old.settings.storage)
    old.start_worker(name="new")
    report = old.client.wait_sweep(GOING, 120)
    assert report.state == "succeeded" and report.counts["succeeded"] == 6
    after = _published(old.settings.storage)
    assert {name: after.get(name) for name in before} == before
    rows = {row.index: row for row in old.client.results(GOING)}
    assert {index: row.metrics["loss"] for index, row in rows.items()} == pytest.approx(
        {index: 1 - (index + 1) / 10 for index in range(6)}
    )
    for index in LOST_RUNS:
        outputs = old.client.outputs(f"{GOING}.{index}")["train"]
        assert json.loads((outputs / "model.json").read_text())["data"] == "prepared"


def test_old_runs_are_read_as_they_ended(old: Cluster) -> None:
    run = old.client.run(RUN)
    assert run.state == "succeeded" and run.parameters["learning_rate"] == 0.05
    assert old.client.metrics(RUN) == {"loss": 0.95}
    failed = old.client.sweep(FAILED)
    assert (failed.state, failed.counts["succeeded"], failed.counts["failed"]) == ("failed", 1, 1)
    assert failed.failures[0].count == 1


def test_an_old_failed_run_is_retried_from_its_first_unpublished_step(old: Cluster) -> None:
    old.start_worker(name="new")
    shell = old.shell(old.settings.storage.parent)
    shell("retry", FAILED, exit_code=1)
    run = old.client.run(f"{FAILED}.1")
    assert [step.attempts for step in run.steps if step.name == "train"] == [2]
    assert "prepare" in old.client.outputs(f"{FAILED}.1")
