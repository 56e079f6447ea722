"""An interpreter that cannot be used: whose it is, what it counts for, and who goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_queue.local.server import Server
from pipeline_queue.storage.reading import read_step
from pipeline_queue.storage.submitted_environment import EnvironmentFolder, SubmittedEnvironment
from tests.conftest import wait_until, write_folder
from tests.integration.attempt_site import Site, SubmittedRun, new_site, shared_server
from tests.limits import signal_process
from tests.own_interpreter import WAYS, make_interpreter, mend, vanish
from workers.context import WorkerContext
from workers.interpreter import find_fault

PIPELINE = "pipeline:\n  steps:\n  - train: {run: train.py}\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with shared_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    write_folder(tmp_path / "project", train_py="print('trained')\n")
    with new_site(server, tmp_path) as site:
        yield site


@pytest.fixture
def run(site: Site) -> SubmittedRun:
    return site.submit(PIPELINE)


def _with_environment(worker: WorkerContext, run: SubmittedRun, folder: Path, python: Path) -> WorkerContext:
    """As in the embedded service: the run brings its interpreter."""
    environments = EnvironmentFolder(folder / "environments")
    environments.write(run.id.sweep, SubmittedEnvironment(python, dict(os.environ)))
    return replace(worker, environments=environments)


def _is_due(site: Site, run: SubmittedRun) -> None:
    """Instead of waiting until the time of its retry."""
    site.redis.hset(f"pq1:run:{run.id}", "train|due", 0)


def test_a_submission_whose_interpreter_is_gone_fails_with_that_and_pauses_nobody(
    site: Site, run: SubmittedRun, tmp_path: Path
) -> None:
    worker = _with_environment(site.worker(), run, tmp_path, tmp_path / "gone" / "bin" / "python")
    kinds = []
    for _ in range(4):
        kinds.append(run.attempt(worker, "train").kind)
        _is_due(site, run)
    assert kinds == ["retry", "retry", "retry", "failed"]
    assert "gone/bin/python does not work" in run.report().message
    assert worker.admission.is_open()


def test_a_submission_goes_on_when_its_interpreter_is_back(site: Site, run: SubmittedRun, tmp_path: Path) -> None:
    python = make_interpreter(tmp_path / "own")
    worker = _with_environment(site.worker(), run, tmp_path, python)
    vanish(python)
    assert run.attempt(worker, "train").kind == "retry"
    mend(python)
    _is_due(site, run)
    assert run.attempt(worker, "train").kind == "go_on"


def test_a_supervisor_that_cannot_be_started_for_its_interpreter_is_no_death_of_the_step(
    site: Site, run: SubmittedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = site.worker()
    worker.health.start()
    pid = worker.executor.supervisor_pid()
    assert pid is not None
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "gone"))
        signal_process(pid, signal.SIGKILL)
        wait_until(lambda: worker.executor.supervisor_pid() is None, "the supervisor is dead")
        outcome = run.attempt(worker, "train")
        assert (outcome.kind, worker.admission.is_open()) == ("retry", False)
        assert "does not work" in worker.admission.reasons()[0]
        assert site.redis.hget(f"pq1:run:{run.id}", "train|deaths") in ("0", None)
    wait_until(worker.admission.is_open, "the worker takes steps again")
    worker.health.stop()
    _is_due(site, run)
    assert run.attempt(worker, "train").kind == "go_on"


@pytest.mark.parametrize("breaks", WAYS)
def test_the_probe_finds_what_is_wrong_and_leaves_nothing(
    site: Site, tmp_path: Path, breaks: Callable[[Path], None]
) -> None:
    python, folder = make_interpreter(tmp_path / "own"), tmp_path / "probes"
    folder.mkdir()
    executor = site.worker().executor
    assert find_fault(executor, python, os.environ, folder) == ""
    breaks(python)
    assert find_fault(executor, python, os.environ, folder).startswith(f"the interpreter {python} does not work: ")
    mend(python)
    assert find_fault(executor, python, {**os.environ, "PYTHONHOME": str(tmp_path / "none")}, folder)
    assert not list(folder.iterdir())


def test_a_step_that_spoils_its_own_environment_is_to_blame_itself(site: Site) -> None:
    run = site.submit("pipeline:\n  steps:\n  - train: {run: train.py, env: {PYTHONHOME: /nowhere}}\n")
    worker = site.worker()
    assert run.attempt(worker, "train").kind == "failed"
    assert worker.admission.is_open()
    record = read_step(next(run.paths.folder.glob("train*")))
    assert record is not None
    assert (record.cause, record.is_handed_on) == ("exit_code", False)
