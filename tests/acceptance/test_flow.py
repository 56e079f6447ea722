"""How a sweep flows: what is nearer its end goes first, and a pause stops new steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, wait_until, write_folder

PIPELINE = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - prepare: {run: step.sh, args: prepare}
    - train: {run: step.sh, args: "train ${{ parameters.n }}"}
    - evaluate: {run: step.sh, args: "evaluate ${{ parameters.n }}"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Steps tell a witness of their begin, and wait while a file of their name is there."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    script = (
        f'#!/bin/sh\necho "$*" >> "{tmp_path}/witness"\n'
        f'while [ -e "{tmp_path}/wait-$1" ]; do sleep 0.05; done\necho "$*" > "$1.txt"\n'
    )
    (folder / "step.sh").write_text(script)
    (folder / "step.sh").chmod(0o755)
    (tmp_path / "witness").write_text("")
    return folder


def begun(folder: Path, step: str = "") -> list[str]:
    return [line for line in (folder.parent / "witness").read_text().splitlines() if line.startswith(step)]


def test_results_come_early(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    (folder.parent / "wait-prepare").touch()
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,60)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).waiting.get("prepare", 0) == 59, "runs wait for the shared step")
    report = cluster.client.sweep(sweep)
    assert report.executing == 1
    _is_told_as_waiting(cluster, shell, sweep)
    said = shell("status", sweep).stdout
    assert "1 step executing" in said and "waiting for prepare" in said
    assert "0/121 steps, 0/60 runs" in said
    assert "1 running" in said
    (folder.parent / "wait-train").touch()
    (folder.parent / "wait-prepare").unlink()
    # Whatever comes next is put beside all of these: at one end of the queue it is read next, at the other last.
    wait_until(lambda: _queued(cluster) >= 50 and len(begun(folder, "train")) == 2, "nearly all wait in the queue")
    (folder.parent / "wait-train").unlink()
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 60
    order = begun(folder)
    first_evaluation = next(number for number, line in enumerate(order) if line.startswith("evaluate"))
    assert len([line for line in order[:first_evaluation] if line.startswith("train")]) < 8
    assert len(order) == 1 + 60 + 60


def _queued(cluster: Cluster) -> int:
    """How many messages lie in the queue, of every priority."""
    redis = cluster.redis()
    names = [name for name in redis.keys("default*") if redis.type(name) in (b"list", "list")]
    return sum(redis.llen(name) for name in names)


def _is_told_as_waiting(cluster: Cluster, shell: Shell, sweep: str) -> None:
    """One run executes the shared step, every other waits for it: in Python, JSON, text and trace."""
    states = [cluster.client.run(f"{sweep}.{index}").state for index in range(60)]
    assert sorted(set(states)) == ["running", "waiting"] and states.count("running") == 1
    run, leader = f"{sweep}.{states.index('waiting')}", f"{sweep}.{states.index('running')}"
    text = f"waits for step prepare, which run {leader} executes"
    shown = json.loads(shell("status", run, "--json").stdout)
    assert (shown["state"], shown["message"], shown["steps"][0]["message"]) == ("waiting", text, text)
    said = shell("status", run)
    assert f"run {run} waiting" in said.stdout and text in said.stdout + said.stderr
    traced = " ".join(shell("trace", run).stdout.split())
    assert "Step prepare waiting" in traced and "Pipeline waiting" in traced and text in traced


@pytest.mark.parametrize("emptied", [False, True], ids=["as it is", "with Redis emptied"])
def test_a_pause_stops_new_steps_and_a_resume_goes_on(cluster: Cluster, folder: Path, emptied: bool) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    (folder.parent / "wait-prepare").touch()
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,8)", "--detach").stdout.strip()
    wait_until(lambda: begun(folder, "prepare"), "the shared step executes")
    said = f"pausing (1 step still executing); resume it: pipeline-queue resume {sweep}"
    assert shell("pause", sweep).stdout == f"{sweep} is {said}\n"
    status = shell("status", sweep).stdout
    assert "pausing (1 step still executing): 8 runs" in status
    assert f"no more steps start; resume it: pipeline-queue resume {sweep}" in status
    assert json.loads(shell("status", sweep, "--json").stdout)["state"] == "pausing"
    (folder.parent / "wait-prepare").unlink()
    wait_until(lambda: cluster.client.sweep(sweep).executing == 0, "the step that executed has ended")
    wait_until(lambda: cluster.client.sweep(sweep).held == 8, "every run is held")
    if emptied:
        redis: Redis = cluster.redis()
        redis.flushall()
        wait_until(lambda: redis.get("pq1:server"), "the server is complete again")
    assert begun(folder, "train") == []
    assert cluster.client.sweep(sweep).state == "paused"
    status = shell("status", sweep).stdout
    assert " paused: 8 runs" in status and f"pipeline-queue resume {sweep}" in status
    if not emptied:
        run = shell("status", f"{sweep}.3")
        assert f"waits until its sweep is resumed: pipeline-queue resume {sweep}" in run.stdout + run.stderr
    shell("resume", sweep)
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 8
    assert len(begun(folder)) == 1 + 8 + 8


def test_progress_is_told_in_steps_also_after_redis_was_emptied(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    (folder.parent / "wait-evaluate").touch()
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,4)", "--detach").stdout.strip()

    def steps() -> tuple[int | None, int | None, int]:
        report = cluster.client.sweep(sweep)
        return report.steps_done, report.steps_total, report.executing

    wait_until(lambda: steps() == (3, 9, 2), "two runs are at their last step")
    assert "3/9 steps, 0/4 runs" in shell("status", sweep).stdout
    cluster.redis().flushall()
    wait_until(lambda: steps() == (3, 9, 2), "the same is known again")
    (folder.parent / "wait-evaluate").unlink()
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert report.counts["succeeded"] == 4
    assert len(begun(folder)) == 9


def test_a_cancelled_pause_ends_every_run(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    (folder.parent / "wait-prepare").touch()
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,8)", "--detach").stdout.strip()
    wait_until(lambda: begun(folder, "prepare"), "the shared step executes")
    shell("pause", sweep)
    (folder.parent / "wait-prepare").unlink()
    wait_until(lambda: cluster.client.sweep(sweep).held == 8, "every run is held")
    shell("cancel", sweep)
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert (report.state, report.counts["cancelled"]) == ("cancelled", 8)
    assert begun(folder, "train") == []


def test_a_single_run_is_paused_too(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    (folder.parent / "wait-train").touch()
    run = shell("run", "pipeline.yaml", "-p", "n=1", "--detach").stdout.strip()
    wait_until(lambda: begun(folder, "train"), "the second step executes")
    shell("pause", run)
    (folder.parent / "wait-train").unlink()
    wait_until(lambda: cluster.client.sweep(run).held == 1, "the run is held")
    assert begun(folder, "evaluate") == []
    shell("resume", run)
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "succeeded"
