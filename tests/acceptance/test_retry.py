"""What did not succeed, again, and nothing else; sweeps listed and forgotten."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from pipeline_queue.index.connection import connect
from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, wait_until, write_folder

PIPELINE = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - one:
        run: witness.sh
        args: one ${{ parameters.n }}
    - two:
        run: check.sh
        args: two ${{ parameters.n }}
    - three:
        run: witness.sh
        args: three ${{ parameters.n }}
"""
BAD = (0, 3, 11, 12, 20, 38, 39)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Steps append what they were given to a file outside of all storage; `two` fails where a flag lies."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    witness = f'echo "$@" >> "{tmp_path}/witness"\nread wait < "{tmp_path}/wait"\nsleep "$wait"\necho "$@" > "$1.txt"\n'
    for name, text in (("witness.sh", witness), ("check.sh", witness + f'test ! -e "{tmp_path}/bad-$2"\n')):
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    (tmp_path / "wait").write_text("0\n")
    (tmp_path / "witness").write_text("")
    return folder


def _flags(folder: Path, numbers: tuple[int, ...], present: bool) -> None:
    for number in numbers:
        path = folder.parent / f"bad-{number}"
        path.write_text("") if present else path.unlink()


def _taken(folder: Path) -> Counter[str]:
    """What was executed since the last look."""
    path = folder.parent / "witness"
    lines = path.read_text().splitlines()
    path.write_text("")
    return Counter(lines)


def _inodes(cluster: Cluster) -> dict[str, int]:
    root = cluster.settings.storage / "sweeps"
    return {
        str(path.relative_to(root)): path.stat().st_ino
        for path in root.rglob("*")
        if path.is_file() and ("/outputs/" in str(path) or path.name in ("step.json", "log"))
    }


def _of(numbers: tuple[int, ...] | range, *steps: str) -> Counter[str]:
    return Counter(f"{step} {n}" for step in steps for n in numbers)


def test_exactly_what_failed_and_what_follows_runs_again(cluster: Cluster, folder: Path) -> None:
    _flags(folder, BAD, present=True)
    cluster.start_worker()
    shell = cluster.shell(folder)
    report = shell.json("sweep", "pipeline.yaml", "-p", "n=range(0,40)", "--json", exit_code=1)
    assert report["counts"]["failed"] == 7
    _taken(folder)
    before = _inodes(cluster)
    still = shell.json("retry", report["sweep"], "--where", "n<=3", "--json", exit_code=1)
    assert (still["state"], still["counts"]["failed"], still["counts"]["succeeded"]) == ("failed", 7, 33)
    assert _taken(folder) == _of((0, 3), "two")
    _flags(folder, BAD, present=False)
    done = shell("retry", report["sweep"], "--failed", "--json")
    assert "retrying 7 runs" in done.stderr
    report = cluster.client.sweep(report["sweep"]).as_json()
    assert report["counts"]["succeeded"] == 40
    # The rate is that of what was done again, not of what had ended before.
    assert round(report["runs_per_second"] * (report["ended_at"] - report["created_at"])) == 7
    assert _taken(folder) == _of(BAD, "two", "three")
    after = _inodes(cluster)
    assert before.items() <= after.items()
    runs = cluster.settings.storage / "sweeps" / report["sweep"] / "runs"
    assert sorted(path.name for path in (runs / "3-n=3").glob("run.json*")) == ["run.json", "run.json.1", "run.json.2"]
    assert cluster.client.results(report["sweep"])[3].state == "succeeded"
    again = shell("retry", report["sweep"])
    assert "nothing to retry" in again.stderr and "accepted" not in again.stdout + again.stderr
    assert _taken(folder) == {}


def test_a_cancelled_sweep_goes_on_where_it_ended(cluster: Cluster, folder: Path) -> None:
    (folder.parent / "wait").write_text("0.05\n")
    cluster.start_worker()
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,40)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).counts["succeeded"] > 3, "some are done")
    (folder.parent / "wait").write_text("1\n")
    shell("cancel", sweep)
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert report.state == "cancelled" and report.counts["cancelled"] > 10
    (folder.parent / "wait").write_text("0\n")
    before = _inodes(cluster)
    shell("retry", sweep)
    assert cluster.client.sweep(sweep).counts == {
        "queued": 0, "running": 0, "succeeded": 40, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    assert before.items() <= _inodes(cluster).items()
    assert set(_taken(folder)) == set(_of(range(40), "one", "two", "three"))


def test_where_starts_no_other_run_even_when_redis_forgets(cluster: Cluster, folder: Path) -> None:
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,5000)", "--detach").stdout.strip()
    shell("cancel", sweep)
    cluster.start_worker()
    wait_until(lambda: not cluster.client.unfinished(), "its end is written down")
    (folder.parent / "wait").write_text("0.1\n")
    shell("retry", sweep, "--where", "n>=4990", "--detach")
    redis = connect(cluster.settings.broker_url)
    redis.flushdb()
    redis.close()
    (folder.parent / "wait").write_text("0\n")
    from pipeline_queue.planning.sweep import Sweep
    from pipeline_queue.submitting.recovery import restore_sweep

    client = cluster.client
    restore_sweep(client._live(), client._writable(), Sweep.read(client._writable(), sweep))
    report = client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert (report.counts["succeeded"], report.counts["cancelled"]) == (10, 4990)
    assert set(_taken(folder)) == set(_of(range(4990, 5000), "one", "two", "three"))


def test_one_run_and_runs_of_a_sweep_that_goes_on(cluster: Cluster, folder: Path) -> None:
    _flags(folder, (0,), present=True)
    cluster.start_worker()
    shell = cluster.shell(folder)
    run = shell.json("run", "pipeline.yaml", "-p", "n=0", "--json", exit_code=1)["run"]
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,100)", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).counts["failed"] == 1, "run 0 has failed")
    _flags(folder, (0,), present=False)
    _taken(folder)
    assert shell.json("retry", run, "--json")["state"] == "succeeded"
    shell("retry", f"{sweep}.0")
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 100
    again = _taken(folder)
    assert again["one 0"] == 0 and (again["two 0"], again["three 0"]) == (2, 2)


def test_a_retry_killed_on_the_way_and_two_at_once_do_it_once(cluster: Cluster, folder: Path) -> None:
    numbers = tuple(range(300))
    _flags(folder, numbers, present=True)
    cluster.start_worker("--concurrency", "4")
    shell = cluster.shell(folder)
    sweep = shell.json("sweep", "pipeline.yaml", "-p", "n=range(0,300)", "--json", exit_code=1)["sweep"]
    _flags(folder, numbers, present=False)
    _taken(folder)
    runs = cluster.settings.storage / "sweeps" / sweep / "runs"
    killed = shell.start("retry", sweep, "--detach")
    wait_until(lambda: any(runs.glob("*/run.json.1")), "some runs are open again")
    killed.kill()
    killed.communicate(timeout=GENEROUS_SECONDS)
    both = [shell.start("retry", sweep, "--detach") for _ in range(2)]
    for process in both:
        _, told = process.communicate(timeout=GENEROUS_SECONDS)
        assert process.returncode == 0, told
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 300
    assert _taken(folder) == _of(numbers, "two", "three")


def test_retry_and_forget_in_the_embedded_default(folder: Path) -> None:
    _flags(folder, (1,), present=True)
    shell = Shell(folder)
    sweep = shell.json("sweep", "pipeline.yaml", "-p", "n=1,2", "--json", exit_code=1)["sweep"]
    _flags(folder, (1,), present=False)
    _taken(folder)
    assert shell.json("retry", sweep, "--json")["counts"]["succeeded"] == 2
    assert _taken(folder) == _of((1,), "two", "three")
    shell("forget", sweep, "--yes")
    assert not list((folder / "pipeline-queue-data" / "storage" / "sweeps").iterdir())


def test_a_condition_that_cannot_be_read_is_bad_input(cluster: Cluster, folder: Path) -> None:
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=1,2", "--detach").stdout.strip()
    assert "lerning" in shell("retry", sweep, "--where", "lerning>1", exit_code=2).stderr


def test_status_and_list_show_a_row_for_each_sweep(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    shell = cluster.shell(folder)
    run = shell.json("run", "pipeline.yaml", "-p", "n=7", "--json")["run"]
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,1000000)", "--detach").stdout.strip()
    shell("cancel", sweep)
    cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    damaged = cluster.settings.storage / "sweeps" / "pipeline-00000000"
    damaged.mkdir()
    (damaged / "sweep.json").write_text("{")
    listed = shell.json("list", "--json")
    assert [one["run"] for one in listed["runs"]] == [run]
    assert [(one["sweep"], one["total"]) for one in listed["sweeps"]] == [(sweep, 1_000_000)]
    rows = shell("status").stdout.splitlines()
    assert len(rows) == 3
    assert any(sweep in row and "1,000,000 runs" in row and "cancelled" in row for row in rows)


def test_forget_removes_what_has_ended_and_its_snapshot(cluster: Cluster, folder: Path) -> None:
    shell, storage = cluster.shell(folder), cluster.settings.storage
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=1,2", "--detach").stdout.strip()
    assert "has not ended" in shell("forget", sweep, "--yes", exit_code=2).stderr
    cluster.start_worker()
    cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    run = shell.json("run", "pipeline.yaml", "-p", "n=7", "--json")["run"]
    wait_until(lambda: not cluster.client.unfinished(), "the ends are written down")
    for snapshot in (storage / "snapshots").iterdir():
        os.utime(snapshot, (0, 0))
    assert "--yes" in shell("forget", sweep, exit_code=2).stderr
    assert "whole sweep" in shell("forget", f"{sweep}.1", "--yes", exit_code=2).stderr
    shell("forget", sweep, "--yes")
    assert len(list((storage / "sweeps").iterdir())) == len(list((storage / "snapshots").iterdir())) == 1
    assert cluster.client.run(run).state == "succeeded"
    shell("forget", run, "--yes")
    assert list((storage / "sweeps").iterdir()) == list((storage / "snapshots").iterdir()) == []
    assert "no runs yet" in shell("list").stdout
