"""A worker without work asks Redis for little, and ends a sweep as soon as ever when work comes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import Cluster, wait_until, write_folder

PIPELINE = "pipeline:\n  steps:\n    - one: {run: 'true'}\n"
_OF_ROUNDS = ("hgetall", "smembers", "zrangebyscore")
"""What only a round of the reconciler sends."""


def _calls(cluster: Cluster) -> dict[str, int]:
    stats: dict[str, Any] = cluster.redis().info("commandstats")
    return {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in stats.items()}


def _wait_for_looks(cluster: Cluster, count: int) -> None:
    cluster.redis().config_resetstat()
    wait_until(lambda: _calls(cluster).get("exists", 0) >= count, f"the reconciler has looked {count} times")


def test_an_idle_reconciler_only_asks_whether_there_is_work(cluster: Cluster) -> None:
    cluster.start_worker()
    wait_until(lambda: cluster.redis().exists("pq1:server"), "the server was filled")
    _wait_for_looks(cluster, 2)
    _wait_for_looks(cluster, 2)
    calls = _calls(cluster)
    assert not {name: calls[name] for name in _OF_ROUNDS if name in calls}


def test_work_after_idleness_ends_and_leaves_the_worker_idle_again(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    cluster.start_worker()
    wait_until(lambda: cluster.redis().exists("pq1:server"), "the server was filled")
    _wait_for_looks(cluster, 2)
    report = cluster.shell(folder).json("run", "pipeline.yaml", "--json")
    assert report["state"] == "succeeded"
    wait_until(
        lambda: not cluster.redis().exists("pq1:sweeps", "pq1:leases", "pq1:retries", "pq1:submitted"),
        "nothing is left",
    )
