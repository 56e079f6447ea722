"""No worker exits for its broker, away at the start or twice in short order, and each is back as soon as its broker."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from pipeline_queue.local.server import start_server
from tests.conftest import Shell, plain_environment, wait_until, write_folder
from tests.faults.server import FaultServer
from tests.limits import kill_and_wait, signal_process

SLEEPING = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - sleep: {run: [sleep, "0.2"], env: {N: "${{ parameters.n }}"}}
"""


def _start(settings: Settings, log: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline_queue", "worker", "--slots", "2", "--name", "one@test", *options]
    with log.open("ab") as file:
        environment = plain_environment(**{**settings.environment(), "PIPELINE_QUEUE_NO_WAIT": ""})
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(tmp_path: Path) -> None:
    gone = start_server(tmp_path / "server.log")
    gone.stop()
    settings = Settings(gone.broker_url, tmp_path / "storage", tmp_path / "scratch")
    log = tmp_path / "worker.log"
    impatient = _start(settings, log, "--no-wait")
    assert impatient.wait(timeout=60) == 3
    assert "cannot be reached (is it running?)" in log.read_text()
    patient = _start(settings, log)
    try:
        wait_until(lambda: "waiting for it" in log.read_text(), "the worker says that it waits")
        assert patient.poll() is None
    finally:
        patient.send_signal(signal.SIGTERM)
    assert patient.wait(timeout=60) == 0


def test_a_worker_lives_when_its_broker_goes_away_twice_in_short_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=SLEEPING)
    server = start_server(tmp_path / "server.log")
    settings = Settings(server.broker_url, tmp_path / "storage", tmp_path / "scratch")
    with Client(settings.storage, settings) as client:
        worker = _start(settings, tmp_path / "worker.log")
        try:
            wait_until(client.workers, "the worker is ready")
            shell = Shell(folder, plain_environment(**settings.environment()))
            sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,60)", "--detach").stdout.strip()
            for _ in range(3):
                wait_until(lambda: client.sweep(sweep).counts["running"] or client.sweep(sweep).done, "steps run")
                signal_process(server.process.pid, signal.SIGSTOP)
                time.sleep(0.5)  # so long does it say nothing
                signal_process(server.process.pid, signal.SIGCONT)
                # Every connection is cut while the worker puts back what it had taken.
                for _ in range(2):
                    client._live()._redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            report = client.wait_sweep(sweep, timeout_seconds=120)
            assert report.counts["succeeded"] == 60
            assert worker.poll() is None
        finally:
            kill_and_wait(worker)
            server.stop()


def test_a_worker_is_back_a_second_after_its_broker_however_long_that_was_away(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=SLEEPING)
    log = tmp_path / "worker.log"
    with ExitStack() as stack:
        server = FaultServer(tmp_path / "server")
        stack.callback(server.kill)
        server.start()
        settings = Settings(server.url, tmp_path / "storage", tmp_path / "scratch")
        client = stack.enter_context(Client(settings.storage, settings))
        worker = _start(settings, log)
        stack.callback(kill_and_wait, worker)
        wait_until(client.workers, "the worker is ready")
        shell = Shell(folder, plain_environment(**settings.environment()))
        sweep = shell("sweep", "pipeline.yaml", "-p", "n=range(0,60)", "--detach").stdout.strip()
        wait_until(lambda: client.sweep(sweep).counts["succeeded"], "steps run")
        for attempts in (12, 24):
            server.kill()
            wait_until(lambda attempts=attempts: len(_pauses(log)) >= attempts, "it has tried to connect for a while")
            server.start()
            before = client.sweep(sweep).counts["succeeded"]
            wait_until(lambda before=before: client.sweep(sweep).counts["succeeded"] > before, "work goes on")
        assert client.wait_sweep(sweep, timeout_seconds=120).counts["succeeded"] == 60
        assert worker.poll() is None
    assert set(_pauses(log)) == {"1.00 second"}


def _pauses(log: Path) -> list[str]:
    """What Celery has said of how long it waits before it connects again."""
    return re.findall(r"Trying again in ([\d.]+ \w+)", log.read_text())
