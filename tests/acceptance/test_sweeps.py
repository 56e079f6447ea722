"""Sweeps through real workers: all of them, once each, fairly, and stopped when told to."""

from __future__ import annotations

import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline_queue.index.connection import connect
from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, wait_until, write_folder
from tests.limits import signal_process

PIPELINE = """\
pipeline:
  parameters:
    - {name: n, type: int}
    - {name: m, type: int, default: 0}
  steps:
    - one:
        run: witness.sh
        args: one ${{ parameters.n }} ${{ parameters.m }}
    - two:
        run: witness.sh
        args: two ${{ parameters.n }} ${{ parameters.m }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline whose steps append what they were given to a file outside of all storage."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    script = folder / "witness.sh"
    script.write_text(f'#!/bin/sh\nread wait < "{tmp_path}/wait"\nsleep "$wait"\necho "$@" >> "{tmp_path}/witness"\n')
    script.chmod(0o755)
    (tmp_path / "wait").write_text("0\n")
    (tmp_path / "witness").write_text("")
    return folder


def _witnessed(folder: Path) -> Counter[str]:
    return Counter((folder.parent / "witness").read_text().splitlines())


def test_a_grid_runs_every_point_once_and_prints_the_documented_json(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    report = cluster.shell(folder).json("sweep", "pipeline.yaml", "-p", "n=range(0,10)", "-p", "m=1,2,3", "--json")
    assert {"sweep", "name", "state", "total", "counts"} <= report.keys()
    assert (report["state"], report["total"], report["counts"]["succeeded"]) == ("succeeded", 30, 30)
    expected = {f"{step} {n} {m}": 1 for step in ("one", "two") for n in range(10) for m in (1, 2, 3)}
    assert _witnessed(folder) == expected
    again = cluster.shell(folder).json("status", report["sweep"], "--json")
    assert (again["total"], again["counts"]) == (30, report["counts"])


def test_the_embedded_default_sweeps_too_and_cleans_up(folder: Path) -> None:
    shell = Shell(folder)
    shell("sweep", "pipeline.yaml", "-p", "n=range(0,12)")
    assert _witnessed(folder) == {f"{step} {n} 0": 1 for step in ("one", "two") for n in range(12)}
    assert not (folder / "pipeline-queue-data" / "service.json").exists()


def test_failures_are_grouped_by_cause_and_exit_1(cluster: Cluster, tmp_path: Path) -> None:
    text = "pipeline:\n  parameters:\n  - {name: n, type: int}\n  steps:\n  - one: {run: check.py, args: '${{ parameters.n }}'}\n"
    folder = write_folder(tmp_path / "project", pipeline_yaml=text)
    (folder / "check.py").write_text("import sys\nsys.exit(3 if int(sys.argv[1]) % 5 == 0 else 0)\n")
    cluster.start_worker()
    report = cluster.shell(folder).json("sweep", "pipeline.yaml", "-p", "n=range(0,20)", "--json", exit_code=1)
    assert report["state"] == "failed"
    assert (report["counts"]["succeeded"], report["counts"]["failed"]) == (16, 4)
    assert [(cause["count"], cause["text"]) for cause in report["failures"]] == [
        (4, "step one failed with exit code 3")
    ]
    shown = cluster.shell(folder)("status", report["sweep"]).stdout
    assert "4 x step one failed with exit code 3" in shown


def test_on_failure_stop_starts_no_more(cluster: Cluster, folder: Path) -> None:
    (folder / "witness.sh").write_text("#!/bin/sh\nexit 9\n")
    cluster.start_worker()
    report = cluster.shell(folder).json(
        "sweep",
        "pipeline.yaml",
        "-p",
        "n=range(0,500)",
        "--on-failure",
        "stop",
        "--max-failures",
        "2",
        "--json",
        exit_code=1,
    )
    assert report["state"] == "stopped"
    assert 3 <= report["counts"]["failed"] < 50 and report["counts"]["cancelled"] > 400


def test_many_submitters_at_once_lose_and_double_nothing(cluster: Cluster, folder: Path) -> None:
    for name in ("one", "two"):
        cluster.start_worker("--concurrency", "2", name=name)
    shells = [cluster.shell(folder) for _ in range(4)]
    processes = [
        shell.start("sweep", "pipeline.yaml", "-p", "n=range(0,25)", "-p", f"m={side}", "--json")
        for side, shell in enumerate(shells)
    ]
    for process in processes:
        _, err = process.communicate(timeout=GENEROUS_SECONDS)
        assert process.returncode == 0, err
    assert _witnessed(folder) == {f"{step} {n} {m}": 1 for step in ("one", "two") for n in range(25) for m in range(4)}


def test_cancel_ends_a_large_sweep_at_once_and_nothing_starts_afterwards(cluster: Cluster, folder: Path) -> None:
    (folder.parent / "wait").write_text("600\n")
    cluster.start_worker()
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,1000)", "-p", "m=range(0,1000)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).counts["running"] == 2, "both slots are busy")
    shell("cancel", sweep)
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert report.state == "cancelled" and report.counts["cancelled"] == 1_000_000
    (folder.parent / "wait").write_text("0\n")
    other = cluster.client.submit(cluster.client.load(folder / "pipeline.yaml"), {"n": 7})
    assert cluster.client.wait(other, GENEROUS_SECONDS).state == "succeeded"
    assert _witnessed(folder) == {"one 7 0": 1, "two 7 0": 1}


def test_a_sweep_costs_redis_by_what_is_in_flight(cluster: Cluster, folder: Path) -> None:
    redis = connect(cluster.settings.broker_url)
    before = redis.dbsize()
    sweep = cluster.shell(folder)(
        "sweep", "pipeline.yaml", "-p", "n=range(0,1000)", "-p", "m=range(0,1000)", "--detach"
    ).stdout.strip()
    assert redis.dbsize() - before < 100
    cluster.client.cancel_sweep(sweep)
    redis.close()


def test_a_small_sweep_does_not_wait_for_a_large_one(cluster: Cluster, folder: Path) -> None:
    (folder.parent / "wait").write_text("0.05\n")
    cluster.start_worker("--concurrency", "4")
    shell = cluster.shell(folder)
    large = shell("sweep", "pipeline.yaml", "-p", "n=range(0,10000)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(large).counts["succeeded"] > 3, "the large one is under way")
    shell("sweep", "pipeline.yaml", "-p", "n=range(0,10)", "-p", "m=1")
    # By counting, not by the clock: while the small one's ten ran, the large one got a fair share, not its whole.
    report = cluster.client.sweep(large)
    assert report.counts["succeeded"] < 200, report.counts
    cluster.client.cancel_sweep(large)


def test_max_parallel_bounds_what_runs_at_a_time(cluster: Cluster, folder: Path) -> None:
    (folder / "witness.sh").write_text(
        f"#!/bin/sh\nmkdir -p '{folder.parent}/live'\ntouch '{folder.parent}/live/'$$\n"
        f"ls '{folder.parent}/live' | wc -l >> '{folder.parent}/witness'\nsleep 0.05\nrm '{folder.parent}/live/'$$\n"
    )
    cluster.start_worker("--concurrency", "4")
    cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=range(0,20)", "--max-parallel", "1")
    assert {line.strip() for line in _witnessed(folder)} == {"1"}


def test_a_paused_sweep_starts_no_more_until_it_is_resumed(cluster: Cluster, folder: Path) -> None:
    shell = cluster.shell(folder)
    (folder.parent / "wait").write_text("0.1\n")
    cluster.start_worker("--concurrency", "1")
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,60)", "--detach").stdout.strip()
    assert re.search(r"is paus(ed|ing)", shell("pause", sweep).stdout)
    wait_until(lambda: cluster.client.sweep(sweep).counts["running"] == 0, "what was under way ends")
    done = cluster.client.sweep(sweep).done
    assert done < 60 and cluster.client.sweep(sweep).state == "paused"
    (folder.parent / "wait").write_text("0\n")
    shell("resume", sweep)
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 60
    assert set(_witnessed(folder).values()) == {1}


def test_a_submitter_killed_at_any_moment_and_run_again_under_its_name_submits_once(
    cluster: Cluster, folder: Path
) -> None:
    cluster.start_worker()
    chance = random.Random(7)
    shell = cluster.shell(folder)
    for round_number in range(6):
        words = [
            "sweep",
            "pipeline.yaml",
            "-p",
            "n=range(0,8)",
            "-p",
            f"m={round_number}",
            "--name",
            f"night-{round_number}",
        ]
        process = shell.start(*words, "--detach")
        time.sleep(chance.uniform(0.2, 1.2))
        signal_process(process.pid, signal.SIGKILL)
        process.communicate(timeout=GENEROUS_SECONDS)
        assert shell.json(*words, "--json")["counts"]["succeeded"] == 8
    assert _witnessed(folder) == {f"{step} {n} {m}": 1 for step in ("one", "two") for n in range(8) for m in range(6)}


def test_a_name_is_not_given_twice_to_different_sweeps(cluster: Cluster, folder: Path) -> None:
    shell = cluster.shell(folder)
    shell("sweep", "pipeline.yaml", "-p", "n=1,2", "--name", "x", "--detach")
    assert (
        "another name"
        in shell("sweep", "pipeline.yaml", "-p", "n=1,2,3", "--name", "x", "--detach", exit_code=2).stderr
    )


def test_a_dry_run_touches_nothing(folder: Path) -> None:
    shell = Shell(folder)
    plan = shell.json("sweep", "pipeline.yaml", "-p", "n=range(0,1000000)", "--dry-run", "--json")
    assert plan["total"] == 1_000_000 and plan["points"][0] == {"n": 0, "m": 0}
    assert sorted(path.name for path in folder.iterdir()) == ["pipeline.yaml", "witness.sh"]


def test_a_sweep_goes_on_when_its_worker_is_killed(cluster: Cluster, folder: Path) -> None:
    (folder.parent / "wait").write_text("0.02\n")
    victim = cluster.start_worker()
    sweep = cluster.shell(folder)("sweep", "pipeline.yaml", "-p", "n=range(0,40)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).counts["succeeded"] > 5, "it is under way")
    victim.kill()
    cluster.start_worker(name="two")
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert report.counts["succeeded"] == 40
    # A step that was under way may run again; none is left out.
    assert set(_witnessed(folder)) == {f"{step} {n} 0" for step in ("one", "two") for n in range(40)}
