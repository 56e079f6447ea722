"""Runs of a sweep that need the same step share one execution of it, and nobody waits in a slot."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder

PIPELINE = """\
pipeline:
  parameters:
    - {name: data, type: string, default: small}
    - {name: n, type: int}
  steps:
    - prepare:
        run: prepare.sh
        args: ${{ parameters.data }}
    - train:
        run: train.sh
        args: ${{ parameters.n }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both steps append to a witness outside of all storage; `gate` holds prepare back, `fail` makes it fail."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    prepare = (
        f'#!/bin/sh\necho "prepare $1" >> "{tmp_path}/witness"\n'
        f'while [ -e "{tmp_path}/gate" ]; do sleep 0.05; done\n[ ! -e "{tmp_path}/fail" ] || exit 5\necho "$1" > data\n'
    )
    train = f'#!/bin/sh\necho "train $1" >> "{tmp_path}/witness"\necho "$(cat data) $1" > model\n'
    for name, text in (("prepare.sh", prepare), ("train.sh", train)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (tmp_path / "witness").write_text("")
    return folder


def _witnessed(folder: Path) -> Counter[str]:
    return Counter((folder.parent / "witness").read_text().splitlines())


def test_a_step_that_all_runs_need_is_executed_once(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "4")
    report = cluster.shell(folder).json("sweep", "pipeline.yaml", "-p", "n=range(0,100)", "--json")
    assert report["counts"]["succeeded"] == 100
    assert _witnessed(folder) == {"prepare small": 1, **{f"train {n}": 1 for n in range(100)}}
    client = cluster.client
    for index in (0, 57, 99):
        outputs = client.outputs(f"{report['sweep']}.{index}")
        assert (outputs["prepare"] / "data").read_text() == "small\n"
        assert (outputs["train"] / "model").read_text() == f"small {index}\n"
    assert len({str(client.outputs(f"{report['sweep']}.{index}")["prepare"].resolve()) for index in range(100)}) == 1


def test_each_distinct_step_runs_once_and_none_waits_in_a_slot(cluster: Cluster, folder: Path) -> None:
    gate = folder.parent / "gate"
    gate.touch()
    cluster.start_worker("--concurrency", "3")
    sweep = cluster.shell(folder)(
        "sweep", "pipeline.yaml", "-p", "data=a,b,c", "-p", "n=range(0,20)", "--detach"
    ).stdout.strip()
    # Three slots, and runs of the first value fill the window: the other two values still get theirs.
    wait_until(lambda: len(_witnessed(folder)) == 3, "all three preparations run at once")
    gate.unlink()
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 60
    witnessed = _witnessed(folder)
    assert {name: count for name, count in witnessed.items() if name.startswith("prepare")} == {
        "prepare a": 1, "prepare b": 1, "prepare c": 1,
    }  # fmt: skip
    assert sum(witnessed.values()) == 63


def test_a_shared_step_that_fails_fails_every_run_that_needs_it_once(cluster: Cluster, folder: Path) -> None:
    (folder.parent / "fail").touch()
    cluster.start_worker()
    report = cluster.shell(folder).json("sweep", "pipeline.yaml", "-p", "n=range(0,30)", "--json", exit_code=1)
    assert report["counts"]["failed"] == 30
    assert _witnessed(folder) == {"prepare small": 1}
    assert [(cause["count"], cause["text"]) for cause in report["failures"]] == [
        (30, "step prepare failed with exit code 5")
    ]


def test_a_shared_step_that_failed_is_executed_again_by_retry_once(cluster: Cluster, folder: Path) -> None:
    (folder.parent / "fail").touch()
    cluster.start_worker()
    shell = cluster.shell(folder)
    sweep = shell.json("sweep", "pipeline.yaml", "-p", "n=range(0,12)", "--json", exit_code=1)["sweep"]
    (folder.parent / "fail").unlink()
    assert shell.json("retry", sweep, "--json")["counts"]["succeeded"] == 12
    assert _witnessed(folder) == {"prepare small": 2, **{f"train {n}": 1 for n in range(12)}}


def test_when_the_worker_that_executes_a_shared_step_is_killed_another_takes_over(
    cluster: Cluster, folder: Path
) -> None:
    gate = folder.parent / "gate"
    gate.touch()
    victim = cluster.start_worker()
    sweep = cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=range(0,10)", "--detach").stdout.strip()
    wait_until(lambda: _witnessed(folder), "the preparation runs")
    victim.kill()
    cluster.start_worker(name="two")
    gate.unlink()
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 10
    assert _witnessed(folder)["prepare small"] == 2
    assert sum(_witnessed(folder).values()) == 12


def test_cancelling_the_run_that_leads_lets_another_lead(cluster: Cluster, folder: Path) -> None:
    gate = folder.parent / "gate"
    gate.touch()
    cluster.start_worker()
    sweep = cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=range(0,5)", "--detach").stdout.strip()
    wait_until(lambda: _witnessed(folder), "the preparation runs")
    leader = next(index for index in range(5) if cluster.client.run(f"{sweep}.{index}").steps[0].attempts)
    cluster.client.cancel(f"{sweep}.{leader}")
    wait_until(lambda: _witnessed(folder)["prepare small"] == 2, "another run leads")
    gate.unlink()
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert (report.counts["succeeded"], report.counts["cancelled"]) == (4, 1)


@pytest.mark.parametrize("change", ["reuse: never", "args: ${{ parameters.data }} ${{ run.id }}"])
def test_a_step_that_is_its_runs_own_is_executed_by_each(cluster: Cluster, folder: Path, change: str) -> None:
    text = (
        PIPELINE.replace("        args: ${{ parameters.data }}\n", f"        {change}\n")
        if "args" in change
        else PIPELINE.replace("        run: prepare.sh\n", f"        run: prepare.sh\n        {change}\n")
    )
    (folder / "pipeline.yaml").write_text(text)
    cluster.start_worker()
    cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=range(0,6)")
    assert _witnessed(folder)["prepare small"] == 6


def test_repeat_makes_members_distinct(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=1,2", "--repeat", "3")
    assert _witnessed(folder) == {"prepare small": 3, "train 1": 3, "train 2": 3}


def test_a_dry_run_tells_how_many_steps_are_shared(folder: Path, cluster: Cluster) -> None:
    plan = cluster.shell(folder).json(
        "sweep", "pipeline.yaml", "-p", "data=a,b", "-p", "n=range(0,50)", "--dry-run", "--json"
    )
    assert (plan["total"], plan["steps"], plan["distinct_steps"]) == (100, 200, 102)
