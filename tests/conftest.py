"""Real servers, real workers, real commands: each test's own, ended by it, by pid."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
from redis import Redis

from pipeline_queue.client import Client
from pipeline_queue.contract.settings import RESERVED_PREFIX, SCRATCH, Settings
from pipeline_queue.local.folder import DataFolder
from pipeline_queue.local.server import start_server
from tests import skipped
from tests.limits import kill_and_wait, signal_process

ROOT = Path(__file__).resolve().parents[1]
GENEROUS_SECONDS = 120.0

# Of this process of the tests, removed with it.
_SCRATCH = tempfile.mkdtemp(prefix="pq-test-scratch-")
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)


def _let_children_have_default_signals() -> None:
    """What this process was started to ignore (`nohup`, a shell's `&`), it goes on ignoring, but not its children.

    An ignored signal is inherited by every program that is started; one with a handler is not.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_let_children_have_default_signals()

# How long an example takes on a busy machine says nothing about it.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    skipped.register(config)


SEED_YAML = """\
pipeline:
  parameters:
    - name: learning_rate
      type: float
  steps:
    - train_model:
        run: train.py
        args: --lr ${{ parameters.learning_rate }}
"""

SEED_SCRIPT = """\
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
options = parser.parse_args()
print("received", json.dumps(sys.argv[1:]))
with open("model.json", "w") as file:
    json.dump({"argv": sys.argv[1:], "weight": 10 * options.lr}, file)
with open("metrics.json", "w") as file:
    json.dump({"loss": 1 - options.lr}, file)
"""


def plain_environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(RESERVED_PREFIX)}
    return {**kept, SCRATCH: _SCRATCH, **more}


def wait_until(condition: Callable[..., Any], what: str, seconds: float = GENEROUS_SECONDS) -> Any:
    """The first true answer of the condition."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def lives(pid: int) -> bool:
    """Whether a process runs. One that has ended may be there as a zombie, when its parent waits for nobody.

    This process becomes the parent of whatever loses its own, once a test has made it a subreaper.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


_data_folders: set[DataFolder] = set()
"""Where embedded services of a test may run."""


@pytest.fixture(autouse=True)
def _no_service_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends the embedded services that run in the test's own folder when it is over."""
    own = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    for data in [data for data in _data_folders if own and data.root.is_relative_to(own)]:
        _data_folders.discard(data)
        note = data.read_note()
        if note is not None and data.is_served():
            with suppress(ProcessLookupError):  # it has ended by itself meanwhile
                signal_process(note.pid, signal.SIGTERM)
            wait_until(lambda data=data: not data.is_served(), "the service of the test has ended")


@dataclass
class Shell:
    """Runs the real console command in one folder, as a user's shell would."""

    folder: Path
    environment: dict[str, str] = field(default_factory=plain_environment)

    def __post_init__(self) -> None:
        _data_folders.add(DataFolder.of(self.environment, self.folder))

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline_queue", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str, exit_code: int | None = 0) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=GENEROUS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        done = subprocess.CompletedProcess(words, process.returncode, out, err)
        assert "Traceback" not in err, err
        if exit_code is not None:
            assert done.returncode == exit_code, f"{words}: {done.returncode}\n{out}\n{err}"
        return done

    def json(self, *words: str, exit_code: int | None = 0) -> Any:
        return json.loads(self(*words, exit_code=exit_code).stdout)


def write_folder(folder: Path, **files: str) -> Path:
    """Writes files (`train_py` is train.py) and gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_py", ".py").replace("_yaml", ".yaml")).write_text(text)
    return folder


@pytest.fixture
def seed_folder(tmp_path: Path) -> Path:
    """The seed's pipeline with a train.py."""
    return write_folder(tmp_path / "project", pipeline_yaml=SEED_YAML, train_py=SEED_SCRIPT)


@pytest.fixture
def shell(seed_folder: Path) -> Shell:
    """A shell in the seed's folder, with nothing configured."""
    return Shell(seed_folder)


@dataclass
class Cluster:
    """A private server, a storage, and the workers a test starts."""

    settings: Settings
    client: Client
    _stack: ExitStack

    def shell(self, folder: Path) -> Shell:
        return Shell(folder, plain_environment(**self.settings.environment()))

    def redis(self) -> Redis:
        """A connection that gives bytes as they are; closed with the test."""
        parts = urlsplit(self.settings.broker_url)
        redis: Redis = self._stack.enter_context(Redis(unix_socket_path=parts.path, password=parts.password))
        return redis

    def start_worker(
        self, *options: str, name: str = "one", python: str | Path = sys.executable
    ) -> subprocess.Popen[bytes]:
        """A worker process that is ready; ended with the test. `python` is the interpreter of it and of its steps."""
        return self._stack.enter_context(_running_worker(self.settings, self.client, name, options, python))


@contextmanager
def _running_worker(
    settings: Settings, client: Client, name: str, options: tuple[str, ...], python: str | Path
) -> Iterator[subprocess.Popen[bytes]]:
    log = settings.storage.parent / f"worker-{name}.log"
    command = [str(python), "-P", "-m", "workers", "worker", "--hostname", f"{name}@test", "--loglevel", "INFO"]
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*command, *(options or ("--concurrency", "2"))],
            env=plain_environment(**settings.environment()),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return any(worker.name == f"{name}@test" for worker in client.workers())

        wait_until(ready, f"worker {name} is ready")
        yield process
    finally:
        kill_and_wait(process)


@contextmanager
def new_cluster(folder: Path, **settings: Any) -> Iterator[Cluster]:
    """A private server and an empty storage; `settings` besides those two."""
    with ExitStack() as stack:
        server = start_server(folder / "server.log")
        stack.callback(server.stop)
        made = Settings(server.broker_url, folder / "storage", folder / "scratch", **settings)
        client = stack.enter_context(Client(made.storage, made))
        yield Cluster(made, client, stack)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A private server and an empty storage; start workers with `start_worker`."""
    with new_cluster(tmp_path) as made:
        yield made
