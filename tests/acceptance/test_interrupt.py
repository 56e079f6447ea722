"""Ctrl-C does the same with the embedded service and with a broker, and it is said beforehand what it will do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, wait_until, write_folder

PIPELINE = "pipeline:\n  steps:\n    - wait: {run: wait.sh}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    (folder / "wait.sh").write_text(
        f'#!/bin/sh\ntouch "{tmp_path}/begun"\nwhile [ -e "{tmp_path}/gate" ]; do sleep 0.05; done\n'
    )
    (folder / "wait.sh").chmod(0o755)
    (tmp_path / "gate").touch()
    return folder


@pytest.fixture(params=["embedded", "broker"])
def shell(request: pytest.FixtureRequest, folder: Path) -> Shell:
    if request.param == "embedded":
        return Shell(folder)
    cluster: Cluster = request.getfixturevalue("cluster")
    cluster.start_worker()
    return cluster.shell(folder)


class Interrupted:
    """A run that executes, and what was printed on standard error."""

    def __init__(self, shell: Shell) -> None:
        self._said = shell.folder.parent / "said"
        command = [sys.executable, "-m", "pipeline_queue", "run", "pipeline.yaml"]
        with self._said.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=shell.folder, env=shell.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self.wait_for("Ctrl-C stops watching, Ctrl-C twice cancels it")
        wait_until((shell.folder.parent / "begun").exists, "the step executes")

    def said(self) -> str:
        return self._said.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.said(), text)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)


def test_ctrl_c_leaves_the_run_and_says_so(shell: Shell) -> None:
    run = Interrupted(shell)
    assert run.said().startswith("reading the pipeline")
    run.interrupt()
    assert run.process.wait(GENEROUS_SECONDS) == 130
    assert "continues (pipeline-queue status" in run.said()
    assert shell.json("status", "last", "--json")["state"] == "running"
    (shell.folder.parent / "gate").unlink()
    wait_until(lambda: shell.json("status", "last", "--json")["state"] == "succeeded", "the run succeeds")


def test_ctrl_c_twice_cancels_it(shell: Shell) -> None:
    run = Interrupted(shell)
    run.interrupt()
    run.wait_for("Ctrl-C again within")
    run.interrupt()
    assert run.process.wait(GENEROUS_SECONDS) == 130
    # A slow machine may still be at it when the command gives up waiting.
    assert "is cancelled" in run.said() or "is being cancelled" in run.said()
    wait_until(lambda: shell.json("status", "last", "--json")["state"] == "cancelled", "the run is cancelled")
