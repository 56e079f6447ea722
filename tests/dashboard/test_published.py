"""A pipeline that was published is started through the HTTP API, without its folder, and every problem is told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster, Shell, wait_until, write_folder
from tests.dashboard.flower_site import Answer, Site, running_flower

PIPELINE = """\
pipeline:
  name: train
  parameters:
    - {name: lr, type: float, min: 0, max: 1}
    - {name: epochs, type: int, default: 3}
    - {name: optimizer, type: string, choices: [sgd, adam], default: sgd}
  steps:
    - fit: {run: fit.py, args: "${{ parameters.lr }} ${{ parameters.epochs }} ${{ parameters.optimizer }}"}
"""
FIT = "import json, sys; json.dump({'lr': float(sys.argv[1]), 'epochs': int(sys.argv[2])}, open('metrics.json', 'w'))\n"


@pytest.fixture
def shell(cluster: Cluster, tmp_path: Path) -> Shell:
    """In the pipeline's folder, which is gone once the pipeline is published."""
    project = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, fit_py=FIT)
    shell = cluster.shell(project)
    shell("publish", "pipeline.yaml", "--as", "nightly")
    shutil.rmtree(project)
    project.mkdir()
    return shell


def _start(site: Site, **body: Any) -> Answer:
    return site.post("/api/pipelines/nightly/runs", body)


def test_a_run_and_a_sweep_start_without_the_folder(cluster: Cluster, shell: Shell) -> None:
    cluster.start_worker()
    with running_flower(cluster) as site:
        (listed,) = site.get("/api/pipelines")["pipelines"]
        assert listed["name"] == "nightly" and listed["pipeline"]["name"] == "train"
        answer = _start(site, values={"lr": 0.5, "epochs": "7"})
        assert answer.status == 201
        run = cluster.client.wait(answer.body["run"], 120, check=True)
        assert run.parameters == {"lr": 0.5, "epochs": 7, "optimizer": "sgd"} and run.metrics == {
            "lr": 0.5,
            "epochs": 7,
        }
        wanted = {
            "sweep": {"lr": [0.1, 0.2, 0.3], "optimizer": ["sgd", "adam"], "epochs": 1},
            "name": "n1",
            "max_parallel": 2,
        }
        answer = _start(site, **wanted)
        assert answer.status == 201
        report = cluster.client.wait_sweep(answer.body["sweep"], 120)
        assert (report.total, report.counts["succeeded"], report.name) == (6, 6, "n1")
        again = _start(site, **wanted)
        assert (again.status, again.body) == (200, answer.body)
        other = _start(site, **{**wanted, "sweep": {"lr": [0.1]}})
        assert other.status == 422 and "another pipeline, folder or values" in other.body["error"]
        assert site.get(f"/api/sweeps/{report.sweep}")["submitted_by"] == "ann"
        assert shell("retry", report.sweep, exit_code=None).returncode in (0, 1)


def test_every_problem_is_told_with_its_parameter(cluster: Cluster, shell: Shell) -> None:
    with running_flower(cluster) as site:
        answer = _start(site, values={"lr": "fast", "epochs": 2.5, "lrr": 1, "optimizer": "lion"})
        assert answer.status == 422
        problems = {one["parameter"]: one["problem"] for one in answer.body["problems"]}
        assert problems.keys() == {"lr", "epochs", "lrr", "optimizer"}
        assert (
            "not a number" in problems["lr"]
            and "choices" in problems["optimizer"]
            and "did you mean" in problems["lrr"]
        )
        missing = _start(site, values={}).body["problems"]
        assert [one["parameter"] for one in missing] == ["lr"]
        wrong = _start(site, sweep={"lr": [0.5, 2], "optimizer": ["sgd", "lion"]}).body["problems"]
        assert {one["parameter"] for one in wrong} == {"lr", "optimizer"}
        assert site.get("/api/sweeps")["total"] == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"values": [1]}, "an object"),
        ({"values": {}, "sweep": {}}, "either"),
        ({"points": "/etc/passwd"}, "unknown key"),
        ({"values": {}, "name": "x"}, "need sweep"),
        ({"sweep": {"lr": [0.1]}, "max_parallel": "2"}, "whole number"),
        ({"sweep": {"lr": [0.1]}, "priority": "huge"}, "huge"),
    ],
)
def test_a_wrong_body_starts_nothing(cluster: Cluster, shell: Shell, body: dict[str, Any], said: str) -> None:
    with running_flower(cluster) as site:
        answer = _start(site, **body)
        assert answer.status == 422
        assert said in answer.body["error"] + str(answer.body.get("problems"))
        assert site.ask("/api/pipelines/other/runs", "POST", {}).status == 404
        assert site.get("/api/sweeps")["total"] == 0 and site.errors() == ""


def test_a_published_pipeline_keeps_its_snapshot_and_is_replaced_under_its_name(
    cluster: Cluster, shell: Shell, tmp_path: Path
) -> None:
    cluster.start_worker()
    with running_flower(cluster) as site:
        run = _start(site, values={"lr": 0.5}).body["run"]
        cluster.client.wait(run, 120, check=True)
        cluster.client.forget(run)
        old = next((tmp_path / "storage" / "snapshots").iterdir())
        assert _start(site, values={"lr": 0.25}).status == 201
        write_folder(shell.folder, pipeline_yaml=PIPELINE.replace("max: 1", "max: 5"), fit_py=FIT)
        assert "published" in shell("publish", "pipeline.yaml", "--as", "nightly").stdout
        answer = _start(site, values={"lr": 4})
        assert answer.status == 201 and old.exists()
        wait_until(lambda: cluster.client.run(answer.body["run"]).state == "succeeded", "the new version runs")


@pytest.mark.parametrize("name", ["../x", "", "a b", "-x", "x" * 65])
def test_a_name_that_is_none_is_refused(shell: Shell, name: str) -> None:
    write_folder(shell.folder, pipeline_yaml=PIPELINE, fit_py=FIT)
    done = shell("publish", "pipeline.yaml", "--as", name, exit_code=2)
    assert "name of a pipeline" in done.stderr
