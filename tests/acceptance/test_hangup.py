"""A terminal that goes away (a closed window, a lost connection): `up` and `worker` stop in good order, `run` goes on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline_queue.local.attach import running_service
from pipeline_queue.local.folder import DataFolder
from tests.conftest import Cluster, Shell, wait_until, write_folder
from tests.limits import kill_and_wait

PIPELINE = "pipeline:\n  steps:\n    - train: {run: train.py}\n"
TRAIN = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("got TERM", flush=True), sys.exit(1)))
print("begun", flush=True)
while not os.path.exists("GATE"):
    time.sleep(0.02)
"""

# Leads a session of its own with the given terminal, as a shell's child in a window does.
IN_TERMINAL = """\
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "pipeline_queue", *sys.argv[1:]])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(
        tmp_path / "project", pipeline_yaml=PIPELINE, train_py=TRAIN.replace("GATE", str(tmp_path / "gate"))
    )


@contextmanager
def _terminal(shell: Shell, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command in a terminal of its own, and the end whose closing hangs it up."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *words],
        cwd=shell.folder, env=shell.environment, stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    try:
        yield process, master
    finally:
        # Asked, it takes its server's folder with it.
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            kill_and_wait(process)


def _is_begun(shell: Shell, run: str) -> bool:
    return "begun" in shell("logs", run).stdout


@pytest.mark.parametrize("how", ["signal", "terminal"])
def test_up_stops_as_on_term_and_status_says_that_nothing_runs(folder: Path, how: str) -> None:
    shell = Shell(folder)
    data = DataFolder.of({}, folder)
    with _terminal(shell, "up", "--no-flower", "--slots", "1") as (process, terminal):
        wait_until(lambda: running_service(data), "the service is ready")
        run = shell("run", "pipeline.yaml", "--detach").stdout.strip()
        wait_until(lambda: _is_begun(shell, run), "the step runs")
        os.close(terminal) if how == "terminal" else process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 0
    assert "got TERM" in shell("logs", run).stdout
    for words in (["status", run], ["status"]):
        assert "no service is running; it continues with the next" in shell(*words).stdout
        assert shell.json(*words, "--json")["served"] is False
    (folder.parent / "gate").touch()
    with _terminal(shell, "up", "--no-flower", "--slots", "1"):
        wait_until(lambda: shell.json("status", run, "--json")["state"] == "succeeded", "it went on")


@pytest.mark.parametrize("how", ["signal", "terminal"])
def test_a_worker_hands_its_steps_back_when_its_terminal_goes_away(cluster: Cluster, folder: Path, how: str) -> None:
    shell = cluster.shell(folder)
    shell.environment["PIPELINE_QUEUE_STOP_GRACE_SECONDS"] = "0"
    with _terminal(shell, "worker", "--slots", "1") as (process, terminal):
        wait_until(cluster.client.workers, "the worker is ready")
        run = shell("run", "pipeline.yaml", "--detach").stdout.strip()
        wait_until(lambda: _is_begun(shell, run), "the step runs")
        os.close(terminal) if how == "terminal" else process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 0
    assert "got TERM" in shell("logs", run).stdout
    wait_until(lambda: "no worker is running; it continues when" in shell("status", run).stdout, "status says so")
    (folder.parent / "gate").touch()
    cluster.start_worker()
    assert cluster.client.wait(run, 120).state == "succeeded"


def test_nohup_keeps_up_going(folder: Path) -> None:
    shell = Shell(folder)
    data = DataFolder.of({}, folder)
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "pipeline_queue", "up", "--no-flower", "--slots", "1"],
        cwd=folder, env=shell.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: running_service(data), "the service is ready")
        process.send_signal(signal.SIGHUP)
        (folder.parent / "gate").touch()
        shell("run", "pipeline.yaml")
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_a_run_goes_on_when_its_terminal_goes_away(folder: Path) -> None:
    shell = Shell(folder)
    with _terminal(shell, "run", "pipeline.yaml") as (process, terminal):
        wait_until(lambda: _has_begun(folder), "the step runs")
        os.close(terminal)
        process.wait(timeout=60)
    (folder.parent / "gate").touch()
    wait_until(lambda: shell.json("status", "last", "--json")["state"] == "succeeded", "it went on without its watcher")


def _has_begun(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("pipeline-queue-data/storage/sweeps/*/runs/*/*/log"))
