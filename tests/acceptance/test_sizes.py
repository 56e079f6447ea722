"""What a finished run takes on the storage, and what people find there."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder

_TWO = "pipeline:\n  steps:\n  - quiet: {run: ./quiet.sh}\n  - last: {run: ./last.sh}\n"


def test_a_step_that_writes_and_prints_nothing_takes_no_folder_and_no_log(cluster: Cluster, tmp_path: Path) -> None:
    folder = _folder(tmp_path, quiet="#!/bin/sh\n:\n", last="#!/bin/sh\nls > seen; echo done\n")
    cluster.start_worker()
    client = cluster.client
    run = client.submit(client.load(folder / "pipeline.yaml"))
    report = client.wait(run, GENEROUS_SECONDS)
    assert report.state == "succeeded"
    quiet, last = report.steps
    assert (quiet.outputs, quiet.log, quiet.state) == (None, None, "succeeded")
    assert last.outputs and last.log
    runs = cluster.settings.storage / "sweeps" / report.sweep / "runs" / "0"
    wait_until((runs / "run.json").exists, "its end is written down")
    found = sorted(path.relative_to(runs).as_posix() for path in runs.rglob("*"))
    assert found == [
        "last", "last/log", "last/outputs", "last/outputs/seen", "last/step.json",
        "quiet", "quiet/step.json",
        "run.json",
    ]  # fmt: skip
    shell = cluster.shell(folder)
    assert shell("logs", run).stdout == "==> last <==\ndone\n"
    assert shell("logs", run, "quiet").stdout == ""
    assert shell("outputs", run).stdout.splitlines() == [f"{last.outputs}/seen"]
    assert client.outputs(run).keys() == {"last"}
    assert "quiet" in shell("trace", run).stdout


def test_following_a_step_that_printed_nothing_does_not_wait_for_the_others(cluster: Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait = f"#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n"
    folder = _folder(tmp_path, quiet="#!/bin/sh\n:\n", last=wait)
    cluster.start_worker()
    client = cluster.client
    run = client.submit(client.load(folder / "pipeline.yaml"))
    wait_until(lambda: client.run(run).steps[0].state == "succeeded", "the first step is published")
    assert cluster.shell(folder)("logs", run, "quiet", "--follow").stdout == ""
    assert client.run(run).state == "running"
    gate.touch()
    assert client.wait(run, GENEROUS_SECONDS).state == "succeeded"


def _folder(tmp_path: Path, **scripts: str) -> Path:
    folder = write_folder(tmp_path / "project", pipeline_yaml=_TWO)
    for name, text in scripts.items():
        (folder / f"{name}.sh").write_text(text)
        (folder / f"{name}.sh").chmod(0o755)
    return folder
