"""The embedded default: one service for a folder, its secrets kept, nothing alive when it is killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.index.connection import answers
from pipeline_queue.local.attach import running_service
from pipeline_queue.local.folder import DataFolder, ServiceNote
from pipeline_queue.local.server import remove_leftover, start_server
from tests.conftest import Shell, lives, wait_until, write_folder
from tests.limits import signal_process


@contextmanager
def _serving(shell: Shell, *options: str) -> Iterator[tuple[subprocess.Popen[str], ServiceNote]]:
    """A service that runs in the shell's folder until the block ends."""
    process = shell.start("up", "--slots", "1", *options)
    try:
        note = wait_until(lambda: _ready(process, shell), "the service is ready")
        yield process, note
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _ready(process: subprocess.Popen[str], shell: Shell) -> ServiceNote | None:
    assert process.poll() is None, process.communicate(timeout=60)[1]
    return running_service(_data(shell))


def _data(shell: Shell) -> DataFolder:
    return DataFolder.of({}, shell.folder)


def _password(note: ServiceNote) -> str:
    password = note.broker_url.partition("//:")[2].partition("@")[0]
    assert len(password) >= 24
    return password


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def _tree(pid: int) -> list[int]:
    return [pid, *(below for child in _children(pid) for below in _tree(child))]


def _files_with(folder: Path, text: str) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    )


def test_the_password_is_in_no_argument_no_log_and_only_in_a_private_file(shell: Shell) -> None:
    with _serving(shell, "--flower-port", "0") as (process, note):
        password = _password(note)
        shell("run", "pipeline.yaml", "-p", "learning_rate=0.01")
        shell("run", "pipeline.yaml", "-p", "learning_rate=x", exit_code=2)
        shell("doctor")
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _tree(process.pid)]
        assert len(commands) >= 4, "service, server, worker, its supervisor, Flower"
        flower = (note.flower_url or "").partition("//me:")[2].partition("@")[0]
        assert len(flower) >= 12
        assert [line for line in commands if password.encode() in line or flower.encode() in line] == []
        data = _data(shell)
        assert (
            _files_with(shell.folder, password)
            == _files_with(shell.folder, flower)
            == ["pipeline-queue-data/service.json"]
        )
        assert (data.root / "service.json").stat().st_mode & 0o777 == 0o600
        socket = Path(note.broker_url.rpartition("@")[2])
        assert socket.is_socket() and socket.parent.stat().st_mode & 0o777 == 0o700
    assert _files_with(shell.folder, password) == []
    assert not socket.parent.exists()


def test_when_the_service_is_killed_server_and_worker_die_and_the_next_one_tidies_up(shell: Shell) -> None:
    with _serving(shell, "--no-flower") as (process, note):
        everyone = _tree(process.pid)
        assert len(everyone) >= 4
        process.kill()
        wait_until(lambda: not any(map(lives, everyone)), "all of the service is dead")
    socket = Path(note.broker_url.rpartition("@")[2])
    assert running_service(_data(shell)) is None and socket.exists()
    shell("run", "pipeline.yaml", "-p", "learning_rate=0.01")
    assert not socket.parent.exists()


def test_two_services_cannot_serve_one_folder(shell: Shell) -> None:
    with _serving(shell, "--no-flower") as (_, note):
        refused = shell("up", "--no-flower", exit_code=2)
        assert "a service is already running" in refused.stderr and str(shell.folder) in refused.stderr
        assert running_service(_data(shell)) == note and answers(note.broker_url)


@pytest.mark.parametrize("name", ["d" * 200, 'it\'s a "test"', "line\nport 1\nx", "päß🦊 $HOME ; #"], ids=ascii)
def test_a_server_starts_for_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    server = start_server(folder / "server.log")
    try:
        assert answers(server.broker_url)
        assert len(os.fsencode(server.socket)) < 108
        assert (folder / "server.log").exists()
        assert not answers(server.broker_url.replace(":", ":wrong", 2).replace(":wrong", ":", 1))
        assert "tcp" not in _listening(server.process.pid)
    finally:
        server.stop()
    assert not server.folder.exists() and server.process.poll() is not None
    assert [path.name for path in folder.iterdir()] == ["server.log"]


def _listening(pid: int) -> list[str]:
    """The kinds of sockets on which a process listens, by what /proc says."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()))
        except OSError:
            continue
    found = []
    for kind in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.append(kind)
    return found


@pytest.mark.parametrize(
    "url", ["redis+socket://:x@{}/other/s", "redis+socket://:x@{}/pq-1/other", "redis://:x@host/0"]
)
def test_only_the_socket_of_a_killed_server_is_tidied_up(tmp_path: Path, url: str) -> None:
    for folder in ("other", "pq-1", "pq-2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s").touch()
    (tmp_path / "pq-2" / "more").touch()
    remove_leftover(url.format(tmp_path))
    remove_leftover(f"redis+socket://:x@{tmp_path}/pq-2/s")
    assert (tmp_path / "other" / "s").exists() and (tmp_path / "pq-1" / "s").exists()
    assert (tmp_path / "pq-2" / "more").exists()
    remove_leftover(f"redis+socket://:x@{tmp_path}/pq-1/s")
    assert not (tmp_path / "pq-1").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"v": 2}', b'{"v": 1}', b'{"v": 1, "pid": 1, "more": 2}', b"\xff", b"[" * 99999],
    ids=lambda content: ascii(content)[:20],
)  # fmt: skip
def test_a_note_that_is_none_counts_as_no_service(tmp_path: Path, content: bytes) -> None:
    data = DataFolder(tmp_path, tmp_path / "storage")
    (tmp_path / "service.json").write_bytes(content)
    assert data.read_note() is None and running_service(data) is None


def test_a_note_of_a_killed_service_does_not_count_while_the_next_one_starts(tmp_path: Path) -> None:
    data = DataFolder(tmp_path, tmp_path / "storage")
    data.write_note(ServiceNote(1, f"redis+socket://:x@{tmp_path}/absent", None, True))
    assert running_service(data) is None
    with data.serving() as alone:
        assert alone and data.is_served()
        assert running_service(data) is None
    assert not data.is_served()


def test_somebody_who_only_looks_does_not_keep_a_service_from_starting(tmp_path: Path) -> None:
    data = DataFolder(tmp_path, tmp_path / "storage")
    looking = os.open(tmp_path / "service.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.03, os.close, [looking]).start()
    with data.serving() as alone:
        assert alone


def test_a_data_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data = DataFolder(tmp_path / "file" / "data", tmp_path / "storage")
    with pytest.raises(StorageError, match="cannot be made"):
        data.make()


def test_steps_for_other_queues_run_here_too_and_again_after_the_service_was_killed(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    folder = write_folder(
        tmp_path / "project",
        wait_py=f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)\n",
        pipeline_yaml="pipeline:\n  steps:\n  - one: {run: wait.py, queue: gpu}\n  - two: {run: /bin/true, queue: tpu}\n",
    )
    shell = Shell(folder)
    run = shell("run", "pipeline.yaml", "--detach").stdout.strip()
    note = running_service(_data(shell))
    assert note is not None
    wait_until(lambda: shell.json("status", run, "--json")["steps"][0]["state"] == "running", "the first step runs")
    signal_process(note.pid, signal.SIGKILL)
    wait_until(lambda: running_service(_data(shell)) is None, "the service is gone")
    # Nor does a damaged sweep, or one that was never committed, keep the next service from starting.
    sweeps = _data(shell).storage / "sweeps"
    for name, content in (("bad-00000000", "{"), ("cut-00000000", None)):
        (sweeps / name).mkdir()
        if content:
            (sweeps / name / "sweep.json").write_text(content)
    gate.touch()
    with _serving(shell, "--no-flower"):
        wait_until(lambda: shell.json("status", run, "--json")["state"] == "succeeded", "the run went on")
    assert (sweeps / "bad-00000000").exists()


def test_what_a_killed_worker_had_taken_runs_with_the_next_one_whatever_its_queue(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "project", pipeline_yaml="pipeline:\n  steps:\n  - one: {run: /bin/true, queue: gpu}\n"
    )
    shell = Shell(folder)
    with _serving(shell, "--no-flower") as (process, _):
        (worker,) = (
            pid for pid in _children(process.pid) if b"workers\0worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        # Stopped, it never hears which queues to serve; killed, it has lost what it was sent.
        signal_process(worker, signal.SIGSTOP)
        run = shell("run", "pipeline.yaml", "--detach").stdout.strip()
        signal_process(worker, signal.SIGKILL)
        wait_until(lambda: shell.json("status", run, "--json")["state"] == "succeeded", "the run went on")


def test_a_service_that_nobody_needs_ends_by_itself(shell: Shell) -> None:
    shell("run", "pipeline.yaml", "-p", "learning_rate=0.01")
    wait_until(lambda: not _data(shell).is_served(), "the service has ended")
    assert json.loads(shell("doctor", "--json").stdout)["ok"] is True
