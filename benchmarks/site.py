"""A place to measure in: a private server, a storage and real workers, and the ways a user has of using them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.progress import say
from benchmarks.side import SLOTS, BenchmarkError, log_end, start_process, stop_process, wait_until
from benchmarks.work import ROOT, environment
from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from pipeline_queue.index.connection import connect
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.local.server import Server, start_server
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, SweepReport
from pipeline_queue.submitting.submission import prepare_sweep

_POLL_SECONDS = 0.02
_SAY_SECONDS = 10.0


@dataclass
class Worker:
    """One worker process; its log says what became of it."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def check_alive(self) -> None:
        """Raises BenchmarkError with its last words."""
        if self.process.poll() is not None:
            raise BenchmarkError(f"{self.name} ended with {self.process.returncode}:\n{log_end(self.log)}")


@dataclass
class Site:
    """`added` goes into the environment of the workers, and so of the steps."""

    folder: Path
    added: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._workers: list[Worker] = []

    def __enter__(self) -> Site:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """The server alone; workers are started one by one."""
        self.folder.mkdir(parents=True)
        self.server: Server = start_server(self.folder / "server.log")
        self._stack.callback(self.server.stop)
        self.settings = Settings(self.server.broker_url, self.folder / "storage", self.folder / "scratch")
        self.client = self._stack.enter_context(Client(self.settings.storage, self.settings))
        self.redis: Any = connect(self.server.broker_url)
        self._stack.callback(self.redis.close)

    def stop(self) -> None:
        """Ends everything that was started here."""
        for worker in self._workers:
            stop_process(worker.process)
        self._stack.close()

    def start_workers(self, count: int, slots: int = SLOTS) -> list[Worker]:
        """More workers, once they take messages."""
        new = [self._start_worker(f"worker-{len(self._workers) + number}", slots) for number in range(1, count + 1)]
        self._workers += new
        for worker in new:
            wait_until(f"{worker.name} is ready", partial(self._is_ready, worker))
        return new

    def _start_worker(self, name: str, slots: int) -> Worker:
        log = self.folder / f"{name}.log"
        command = [sys.executable, "-P", "-m", "workers", "worker", "--hostname", f"{name}@benchmark"]
        command += ["--concurrency", str(slots), "--loglevel", "INFO"]
        return Worker(name, log, start_process(command, self.environment(), self.folder, log))

    def _is_ready(self, worker: Worker) -> bool:
        worker.check_alive()
        # Alive for the index comes first; a consumer of the queue is what makes it ready.
        known = any(live.name == f"{worker.name}@benchmark" for live in self.client.workers())
        return known and b" ready." in worker.log.read_bytes()

    def check_workers(self) -> None:
        """Raises BenchmarkError when one has ended that nobody killed."""
        for worker in self._workers:
            worker.check_alive()

    def kill(self, worker: Worker) -> None:
        """As a machine dies: without a word."""
        worker.process.kill()
        worker.process.wait()
        self._workers.remove(worker)

    def environment(self) -> dict[str, str]:
        """Of every process that belongs to this site."""
        return environment(PYTHONPATH=str(ROOT), **self.settings.environment(), **self.added)

    def submit(self, pipeline: LoadedPipeline, *texts: str) -> str:
        """A sweep of these values by the Python API; its id."""
        built = build_space(pipeline, SweepRequest(texts=texts))
        return self.client.submit_sweep(prepare_sweep(pipeline, built, "", None))

    def wait_for_end(self, sweep: str, limit_seconds: float) -> SweepReport:
        """The sweep once it has ended. Raises BenchmarkError with what was still missing."""
        return self.wait_for_runs(sweep, None, limit_seconds)

    def wait_for_runs(
        self, sweep: str, runs: int | None, limit_seconds: float, each_time: Callable[[], None] = lambda: None
    ) -> SweepReport:
        """The sweep once it, or as many of its runs, have ended; says how far it is. Raises BenchmarkError.

        `each_time` is called at every look, some fifty times a second.
        """
        began = said = time.monotonic()
        while (report := self.client.sweep(sweep)).state not in ENDED_SWEEP and (runs is None or report.done < runs):
            now = time.monotonic()
            self.check_workers()
            each_time()
            if now - began > limit_seconds:
                raise BenchmarkError(f"{sweep} has not ended within {limit_seconds:.0f} s: {report.counts}")
            if now - said > _SAY_SECONDS:
                said = now
                say(f"  {report.done:,} of {runs or report.total:,} runs")
            time.sleep(_POLL_SECONDS)
        return report
