"""The embedded service starts steps with the environment and Python of whoever submitted them, and keeps those secret."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.index.connection import connect
from pipeline_queue.local.attach import running_service
from pipeline_queue.local.folder import DataFolder, ServiceNote
from tests.conftest import Shell, plain_environment, wait_until, write_folder
from tests.limits import signal_process

PIPELINE = """\
pipeline:
  parameters:
    - {name: gate, type: string, default: ''}
    - {name: fail, type: int, default: 0}
  steps:
    - show: {run: show.py, args: ['${{ parameters.gate }}', '${{ parameters.fail }}']}
"""

SHOW = """\
import json, os, sys, time
keep = {name: value for name, value in os.environ.items()}
print(json.dumps({"python": sys.executable, "path": sys.path, "environment": keep}), flush=True)
while sys.argv[1] and not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
sys.exit(int(sys.argv[2]) if "HEALED" not in os.environ else 0)
"""

CANARY = "canary-7c1f0e"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, show_py=SHOW)


def _shell(folder: Path, **variables: str) -> Shell:
    return Shell(folder, plain_environment(**variables))


@contextmanager
def _up(shell: Shell) -> Iterator[ServiceNote]:
    process = shell.start("up", "--slots", "3", "--no-flower")
    data = DataFolder.of({}, shell.folder)
    try:

        def ready() -> ServiceNote | None:
            assert process.poll() is None, process.communicate(timeout=60)[1]
            return running_service(data)

        yield wait_until(ready, "the service is ready")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _seen(shell: Shell, run: str) -> list[dict[str, Any]]:
    """What the step of the run printed, an attempt a line."""
    lines = shell("logs", run).stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_a_second_run_gets_its_own_environment_while_the_first_one_s_service_runs(folder: Path) -> None:
    gate = folder.parent / "gate"
    first = _shell(folder, CUDA_VISIBLE_DEVICES="0", ONLY_FIRST="1")
    second = _shell(folder, CUDA_VISIBLE_DEVICES="1", PYTHONPATH="/second", PATH=f"/second/bin:{os.environ['PATH']}")
    one = first("run", "pipeline.yaml", "-p", f"gate={gate}", "--detach").stdout.strip()
    wait_until(lambda: first.json("status", one, "--json")["steps"][0]["state"] == "running", "the first runs")
    second("run", "pipeline.yaml")
    (seen,) = _seen(second, "last")
    environment = seen["environment"]
    assert environment["CUDA_VISIBLE_DEVICES"] == "1" and "ONLY_FIRST" not in environment
    assert environment["PYTHONPATH"] == "/second" and "/second" in seen["path"]
    assert "/second/bin" in environment["PATH"].split(":")
    gate.touch()
    wait_until(lambda: first.json("status", one, "--json")["state"] == "succeeded", "the first goes on")
    assert _seen(first, one)[0]["environment"]["CUDA_VISIBLE_DEVICES"] == "0"


def test_steps_run_with_the_python_of_the_virtual_environment_they_were_submitted_from(folder: Path) -> None:
    other = folder.parent / "other"
    venv.create(other, symlinks=True)
    packages = next((other / "lib").glob("python3*")) / "site-packages"
    (packages / "as_here.pth").write_text("\n".join(path for path in sys.path if path))
    with _up(_shell(folder, WHO="up")):
        done = subprocess.run(
            [other / "bin" / "python", "-m", "pipeline_queue", "run", "pipeline.yaml"],
            cwd=folder,
            env=plain_environment(VIRTUAL_ENV=str(other)),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        shell = _shell(folder)
        (seen,) = _seen(shell, "last")
        assert seen["python"] == str(other / "bin" / "python")
        assert seen["environment"]["PATH"].startswith(f"{other / 'bin'}:")
        assert "WHO" not in seen["environment"] and seen["environment"]["VIRTUAL_ENV"] == str(other)


def test_a_virtual_environment_that_was_removed_meanwhile_is_named_with_the_remedy(folder: Path) -> None:
    other = folder.parent / "other"
    venv.create(other, symlinks=True)
    packages = next((other / "lib").glob("python3*")) / "site-packages"
    (packages / "as_here.pth").write_text("\n".join(path for path in sys.path if path))
    gate = folder.parent / "gate"
    first = f"first: {{run: [sh, -c, 'until [ -e {gate} ]; do sleep 0.05; done']}}"
    write_folder(folder, pipeline_yaml=PIPELINE.replace("steps:", f"steps:\n    - {first}"))
    with _up(_shell(folder)):
        words = [str(other / "bin" / "python"), "-m", "pipeline_queue", "run", "pipeline.yaml", "--detach"]
        subprocess.run(words, cwd=folder, env=plain_environment(), check=True, capture_output=True, timeout=120)
        shutil.rmtree(other)
        gate.touch()
        shell = _shell(folder)
        wait_until(lambda: shell.json("status", "last", "--json")["state"] == "failed", "it was given up")
        told = shell.json("status", "last", "--json")["message"]
        assert str(other) in told and "pipeline-queue retry" in told and "was not found" in told
        shell("retry", "last")


def test_the_environment_lies_in_one_private_file_and_only_until_the_sweep_has_ended(folder: Path) -> None:
    gate = folder.parent / "gate"
    shell = _shell(folder, TOKEN=CANARY, PIPELINE_QUEUE_OTHER=CANARY)
    data = DataFolder.of({}, folder)
    with _up(_shell(folder)) as note:
        words = ["-p", f"gate={gate},{gate}2", "--detach"]
        sweep = shell("sweep", "pipeline.yaml", *words).stdout.strip()
        wait_until(lambda: _has_begun(data, sweep), "it runs")
        (file,) = _files_with(data.root, CANARY)
        assert file == data.root / "environments" / f"{sweep}.json"
        assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
        assert file.read_text().count(CANARY) == 1, "our own variables are not sent"
        assert _redis_holds(note.broker_url, CANARY) == []
        arguments = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_readable(path)]
        assert [line for line in arguments if CANARY.encode() in line] == []
        gate.touch()
        Path(f"{gate}2").touch()
        wait_until(lambda: not file.exists(), "the file is removed once the sweep has ended")
    assert _files_with(data.root, CANARY) == []


def test_an_attempt_in_a_later_service_has_the_submitter_s_environment_again(folder: Path) -> None:
    gate = folder.parent / "gate"
    shell = _shell(folder, CUDA_VISIBLE_DEVICES="1", TOKEN=CANARY)
    run = shell("run", "pipeline.yaml", "-p", f"gate={gate}", "--detach").stdout.strip()
    wait_until(lambda: shell.json("status", run, "--json")["steps"][0]["state"] == "running", "it runs")
    note = running_service(DataFolder.of({}, folder))
    assert note is not None
    signal_process(note.pid, signal.SIGKILL)
    wait_until(lambda: running_service(DataFolder.of({}, folder)) is None, "the service is dead")
    gate.touch()
    with _up(_shell(folder, CUDA_VISIBLE_DEVICES="0")):
        wait_until(lambda: shell.json("status", run, "--json")["state"] == "succeeded", "it went on")
        environment = _seen(shell, run)[-1]["environment"]
        assert environment["CUDA_VISIBLE_DEVICES"] == "1" and environment["TOKEN"] == CANARY


def test_retry_brings_the_environment_it_is_called_from(folder: Path) -> None:
    with _up(_shell(folder)):
        shell = _shell(folder, WHO="first")
        shell("run", "pipeline.yaml", "-p", "fail=3", exit_code=1)
        _shell(folder, WHO="second", HEALED="1")("retry", "last")
        assert _seen(shell, "last")[-1]["environment"]["WHO"] == "second"


def test_a_sweep_of_a_name_that_is_known_says_that_it_keeps_its_first_environment(folder: Path) -> None:
    gate = folder.parent / "gate"
    words = ["sweep", "pipeline.yaml", "-p", f"gate={gate},{gate}2", "--name", "mine", "--detach"]
    with _up(_shell(folder)):
        _shell(folder, WHO="first", SAME="1")(*words)
        assert "another environment" not in _shell(folder, WHO="first", SAME="1", SHLVL="9")(*words).stderr
        told = _shell(folder, WHO="second", SAME="1")(*words).stderr
        assert "another environment" in told and "WHO" in told and "SAME" not in told and "second" not in told
        gate.touch()
        Path(f"{gate}2").touch()


def test_a_run_whose_environment_was_lost_says_that_it_got_the_service_s(folder: Path) -> None:
    with _up(_shell(folder, WHO="up")):
        data = DataFolder.of({}, folder)
        gate = folder.parent / "gate"
        shell = _shell(folder, WHO="run")
        words = ["-p", f"gate={gate},{gate}2", "--max-parallel", "1", "--detach"]
        sweep = shell("sweep", "pipeline.yaml", *words).stdout.strip()
        wait_until(lambda: _has_begun(data, sweep), "the first runs")
        data.environments.remove(sweep)
        gate.touch()
        Path(f"{gate}2").touch()
        wait_until(lambda: shell.json("status", sweep, "--json")["state"] == "succeeded", "both ended")
        records = [json.loads(path.read_text()) for path in data.storage.glob(f"sweeps/{sweep}/runs/*/show/step.json")]
        assert sorted(len(record["notes"]) for record in records) == [0, 1]
        assert "the service's own was used" in max(record["notes"] for record in records)[0]


def _has_begun(data: DataFolder, sweep: str) -> bool:
    return any(path.stat().st_size for path in data.storage.glob(f"sweeps/{sweep}/runs/*/*/log"))


def _files_with(folder: Path, text: str) -> list[Path]:
    """But for the logs of steps, which print everything here."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name != "log" and text.encode() in path.read_bytes()
    )


def _is_readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def _redis_holds(broker_url: str, text: str) -> list[str]:
    client: Any = connect(broker_url)
    found = []
    try:
        for key in client.scan_iter("*"):
            dumped = {"string": client.get, "hash": client.hgetall, "set": client.smembers}.get(client.type(key))
            content = dumped(key) if dumped else repr(client.object("encoding", key))
            if client.type(key) == "list":
                content = client.lrange(key, 0, -1)
            elif client.type(key) == "zset":
                content = client.zrange(key, 0, -1)
            if text in repr(content):
                found.append(key)
    finally:
        client.close()
    return found
