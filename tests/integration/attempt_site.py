"""A real server, a real storage and workers without Celery in this process: attempts at exactly chosen moments."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from pipeline_queue.broker.message import Link, Message, StepMessage
from pipeline_queue.contract.errors import Place
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.settings import Settings
from pipeline_queue.index.connection import connect
from pipeline_queue.index.live_sweeps import Opening
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.local.server import Server, start_server
from pipeline_queue.model.parameters import Given
from pipeline_queue.planning.planner import messages_for
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.runs import read_run
from pipeline_queue.storage.run_folder import RunFolder
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.canvas import chain
from pipeline_queue.submitting.submission import prepare_run
from workers.agents.admission import Admission
from workers.agents.disk_monitor import DiskMonitor
from workers.agents.lease_keeper import LeaseKeeper, Orders
from workers.attempt import attempt_step
from workers.context import SweepCache, WorkerContext
from workers.executor import Executor
from workers.host_health import HostHealth
from workers.outcome import Outcome
from workers.workspace import Workspaces


def alone(message: StepMessage) -> Message:
    """A message without a chain."""
    return Message((Link(message, "default"),))


@dataclass
class Site:
    """One empty server and storage."""

    server: Server
    settings: Settings
    storage: Storage
    run_index: RunIndex
    redis: Redis
    _stack: ExitStack

    def submit(self, text: str, **values: Any) -> SubmittedRun:
        """A committed run that nobody was told of."""
        folder = self.settings.storage.parent / "project"
        folder.mkdir(exist_ok=True)
        (folder / "pipeline.yaml").write_text(text)
        given = {name: Given(value, Place(name)) for name, value in values.items()}
        submission = prepare_run(load_pipeline(folder / "pipeline.yaml"), given, self.storage.root)
        with submission.snapshot:
            sweep = submission.commit(self.storage)
        run = sweep.run_id(0)
        self.run_index.sweeps.open(Opening(run.sweep, 1))
        self.run_index.sweeps.allot(run.sweep, 8, 200)
        return SubmittedRun(self, sweep, run, run_paths(self.storage, sweep, run))

    def worker(self, name: str = "one@test", keeps_leases: bool = True) -> WorkerContext:
        """A worker's parts, ended with the test; without a keeper its leases are never renewed."""
        executor = Executor()
        executor.start()
        self._stack.callback(executor.close)
        run_index, own = RunIndex(self.settings.broker_url), RunIndex(self.settings.broker_url)
        self._stack.callback(run_index.close)
        self._stack.callback(own.close)
        leases = LeaseKeeper(name, own, Orders(executor.renew, executor.stop, executor.kill), lambda *_: None)
        if keeps_leases:
            leases.start()
            self._stack.callback(leases.stop)
        admission = Admission()
        idle_folders = 0 if self.settings.reuses_folders is False else 4
        workspaces = Workspaces(self.settings.scratch, self.storage, idle_folders)
        environment, python = dict(os.environ), Path(sys.executable)
        return WorkerContext(
            name=name, storage=self.storage, run_index=run_index, executor=executor, leases=leases,
            workspaces=workspaces, sweeps=SweepCache(self.storage),
            refuse=lambda payload, reason, queue: None,
            admission=admission,
            disks=DiskMonitor(self.storage, self.settings.scratch, own, admission),
            health=HostHealth(name, own, executor, admission, (python, environment), workspaces.ceiling),
            feed_soon=lambda sweep: None,
            enqueue_soon=lambda pipeline, chains: None,
            log_limit_bytes=1024 * 1024, environment=environment, python=python, grace_seconds=2.0,
        )  # fmt: skip

    def keys(self) -> dict[str, int]:
        """Every key of the project and its time to live in seconds, -1 for ever."""
        return {str(key): int(self.redis.ttl(key)) for key in self.redis.scan_iter("pq1:*")}


@dataclass(frozen=True)
class RunPaths:
    """Where on the file system a run lies, for tests that look or meddle there."""

    folder: Path

    def step(self, step: str) -> Path:
        return self.folder / step

    def names(self) -> frozenset[str]:
        return frozenset(names_in(self.folder))

    def end(self) -> RunRecord | None:
        return RunFolder(self.folder, self.folder).end()


def run_paths(storage: Storage, sweep: Sweep, run: RunId) -> RunPaths:
    return RunPaths(Path(sweep.paths(storage, run).where()))


@dataclass(frozen=True)
class SubmittedRun:
    site: Site
    sweep: Sweep
    id: RunId
    paths: RunPaths

    def message(self, step: str, **parameters: Any) -> StepMessage:
        return StepMessage(self.id, step, {**self.sweep.parameters(self.id), **parameters})

    def received(self, step: str) -> Message:
        """The message that has the step executed, and then those after it."""
        pipeline, point = self.sweep.pipeline, self.sweep.parameters(self.id)
        return chain(pipeline, messages_for((step, *pipeline.after(step)), self.id, point))

    def attempt(self, worker: WorkerContext, step: str) -> Outcome:
        return attempt_step(worker, self.received(step))

    def report(self) -> Any:
        return read_run(self.site.storage, self.sweep, self.id, self.site.run_index.run(self.id))

    def states(self) -> tuple[str, list[str]]:
        report = self.report()
        return report.state, [step.state for step in report.steps]


class Attempting(threading.Thread):
    """One attempt in a thread of its own; `result` is its outcome or error."""

    def __init__(self, run: SubmittedRun, worker: WorkerContext, step: str) -> None:
        super().__init__(daemon=True)
        self._work = (run, worker, step)
        self.result: Outcome | Exception | None = None
        self.start()

    def run(self) -> None:
        run, worker, step = self._work
        try:
            self.result = run.attempt(worker, step)
        except Exception as error:  # noqa: BLE001 - whatever it is, `outcome` tells
            self.result = error

    def outcome(self) -> Outcome:
        self.join(timeout=60)
        assert isinstance(self.result, Outcome), self.result
        return self.result


def names_in(folder: Path | str) -> list[str]:
    """The names in a folder, in order."""
    return sorted(path.name for path in Path(folder).iterdir())


@contextmanager
def new_site(server: Server, folder: Path) -> Iterator[Site]:
    settings = Settings(server.broker_url, folder / "storage", folder / "scratch")
    with ExitStack() as stack:
        redis = connect(server.broker_url)
        stack.callback(redis.close)
        redis.flushall()
        run_index = RunIndex(server.broker_url)
        stack.callback(run_index.close)
        yield Site(server, settings, Storage.open(settings.storage), run_index, redis, stack)


@contextmanager
def shared_server(folder: Path) -> Iterator[Server]:
    server = start_server(folder / "server.log")
    try:
        yield server
    finally:
        server.stop()
