"""What the pages show comes from storage and index: a flush, a restart of Flower or a hung thing changes nothing in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import Cluster, wait_until, write_folder
from tests.dashboard.flower_site import Site, running_flower

PIPELINE = """\
pipeline:
  name: steady
  parameters:
    - {name: x, type: int}
  steps:
    - work: {run: work.py, args: "${{ parameters.x }}"}
"""
WORK = """\
import json, sys, time
time.sleep(0.1)
json.dump({"loss": int(sys.argv[1])}, open("metrics.json", "w"))
if int(sys.argv[1]) % 7 == 0:
    sys.exit("a multiple of seven")
"""


def _sweep(cluster: Cluster, folder: Path, runs: int) -> str:
    project = write_folder(folder / "project", pipeline_yaml=PIPELINE, work_py=WORK)
    values = ",".join(map(str, range(1, runs + 1)))
    return cluster.shell(project)("sweep", "pipeline.yaml", "-p", f"x={values}", "--detach").stdout.strip()


def _shown(site: Site, sweep: str) -> dict[str, Any]:
    detail = site.get(f"/api/sweeps/{sweep}")
    return {name: detail[name] for name in ("state", "runs", "counts", "best", "failures", "parameters")}


def _rows(site: Site, sweep: str) -> list[Any]:
    found = wait_until(
        lambda: (table := site.get(f"/api/sweeps/{sweep}/runs?limit=1000"))["reading"] is None and table, "all are read"
    )
    return list(found["rows"])


def test_a_flush_and_a_restart_of_flower_in_mid_sweep_change_nothing_that_is_shown(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.start_worker()
    sweep = _sweep(cluster, tmp_path, 60)
    with running_flower(cluster) as site:
        wait_until(lambda: site.get(f"/api/sweeps/{sweep}")["ended"] >= 10, "some runs have ended")
        seen = len(_rows(site, sweep))
        cluster.redis().flushall()
        wait_until(lambda: site.get(f"/api/sweeps/{sweep}")["ended"] > seen, "the sweep goes on")
        assert len(_rows(site, sweep)) >= seen
    with running_flower(cluster) as site:
        report = cluster.client.wait_sweep(sweep, 120)
        assert report.counts["succeeded"] + report.counts["failed"] == 60
        wait_until(lambda: len(_rows(site, sweep)) == 60, "every run is in the table")
        assert _shown(site, sweep)["counts"] == report.counts
        states = [row[2] for row in _rows(site, sweep)]
        assert (states.count("succeeded"), states.count("failed")) == (52, 8)
        assert [row["id"] for row in site.get("/api/sweeps")["sweeps"]] == [sweep]
        assert site.errors() == ""


def test_a_retried_sweep_shows_the_states_of_its_new_ends(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker()
    sweep = _sweep(cluster, tmp_path, 14)
    cluster.client.wait_sweep(sweep, 120)
    (tmp_path / "project" / "work.py").write_text(WORK)
    with running_flower(cluster) as site:
        assert sum(row[2] == "failed" for row in _rows(site, sweep)) == 2
        answer = site.post(f"/api/sweeps/{sweep}/retry")
        assert answer.status == 200 and "2 runs" in answer.body["done"]
        cluster.client.wait_sweep(sweep, 120)
        names = [column["name"] for column in site.get(f"/api/sweeps/{sweep}/runs")["columns"]]
        assert {"run", "index", "state", "loss", "x"} <= set(names)
        assert sum(row[2] == "failed" for row in _rows(site, sweep)) == 2
        line = (tmp_path / "storage" / "actions").rglob("*.jsonl")
        assert '"action":"retry"' in next(line).read_text()


def test_a_read_only_dashboard_needs_no_writable_storage(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_worker()
    _sweep(cluster, tmp_path, 3)
    with running_flower(cluster, "--read-only") as site:
        storage = next(one for one in site.get("/api/cluster")["checks"] if one["name"] == "storage")
        assert storage["state"] == "ok" and "readable" in storage["detail"]
    with running_flower(cluster) as site:
        storage = next(one for one in site.get("/api/cluster")["checks"] if one["name"] == "storage")
        assert storage["state"] == "ok" and "writable" in storage["detail"]


def test_without_its_broker_the_pages_say_so_and_recover(cluster: Cluster) -> None:
    redis = cluster.redis()
    password = redis.connection_pool.connection_kwargs["password"]
    with running_flower(cluster) as site:
        assert site.get("/api/sweeps")["total"] == 0
        redis.execute_command("CONFIG", "SET", "requirepass", "another-word")
        redis.execute_command("CLIENT", "KILL", "TYPE", "normal")
        answer = wait_until(
            lambda: (found := site.ask("/api/cluster")).status == 503 and found, "the broker's refusal is told"
        )
        assert answer.body["error"] and "another-word" not in answer.body["error"]
        assert site.ask("/sweeps").status == 200
        redis.execute_command("CONFIG", "SET", "requirepass", password)
        wait_until(lambda: site.ask("/api/cluster").status == 200, "it recovers")
