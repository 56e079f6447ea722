"""This project: a private server, one worker process, every run submitted by the Python API."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.cpu import cpu_seconds
from benchmarks.side import SLOTS, BenchmarkError, Timing, log_end, start_process, stop_process, wait_until
from benchmarks.work import ROOT, Work, environment, learning_rate
from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.local.server import Server, start_server
from pipeline_queue.submission import prepare_sweep


class Ours:
    """One sweep of all the runs: snapshot, `sweep.json` on disk, chains, leases, logs, publication."""

    name = "pipeline_queue"
    parameter = "learning_rate"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "worker.log"
        self._server: Server | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None

    def start(self) -> None:
        self._folder.mkdir()
        self._server = start_server(self._folder / "server.log")
        settings = Settings(self._server.broker_url, self._folder / "storage", self._folder / "scratch")
        command = [sys.executable, "-P", "-m", "workers", "worker", "--concurrency", str(SLOTS), "--loglevel", "INFO"]
        env = environment(PYTHONPATH=str(ROOT), **settings.environment())
        self._worker = start_process(command, env, self._folder, self._log)
        self._client = Client(settings.storage, settings)
        wait_until("the worker is ready", self._is_ready)

    def measure(self, work: Work, runs: int, limit_seconds: float) -> Timing:
        client = self._client
        assert client is not None
        cpu, began = self._cpu_seconds(), time.monotonic()
        submit = self._submit(client, client.load(work.pipeline), runs)
        submitted = time.monotonic()
        wait_until(f"{runs} runs end", lambda: not client.has_work(), limit_seconds)
        timing = Timing(time.monotonic() - began, submitted - began, self._cpu_seconds() - cpu)
        succeeded = sum(client.sweep(sweep).counts["succeeded"] for sweep in submit)
        if succeeded != runs:
            raise BenchmarkError(f"{runs - succeeded} of {runs} runs did not succeed:\n{log_end(self._log)}")
        return timing

    def _submit(self, client: Client, pipeline: LoadedPipeline, runs: int) -> list[str]:
        """The ids of the sweeps."""
        values = ",".join(self.value(run) for run in range(runs))
        built = build_space(pipeline, SweepRequest(texts=(f"{self.parameter}={values}",)))
        return [client.submit_sweep(prepare_sweep(pipeline, built, "", None))]

    def worker_pid(self) -> int:
        assert self._worker is not None
        return self._worker.pid

    def value(self, run: int) -> str:
        return str(learning_rate(run))

    def stop(self) -> None:
        stop_process(self._worker)
        if self._client:
            self._client.close()
        if self._server:
            self._server.stop()

    def _cpu_seconds(self) -> float:
        assert self._worker is not None and self._server is not None
        return cpu_seconds([self._worker.pid, self._server.process.pid])

    def _is_ready(self) -> bool:
        assert self._worker is not None and self._client is not None
        if self._worker.poll() is not None:
            raise BenchmarkError(f"the worker ended with {self._worker.returncode}:\n{log_end(self._log)}")
        # Alive for the ledger comes first; a consumer of the queue is what makes it ready.
        return bool(self._client.workers()) and b" ready." in self._log.read_bytes()


class OneByOne(Ours):
    """Every run is a submission of its own, with its own snapshot and its own `sweep.json` on disk."""

    name = "ours, one by one"

    def _submit(self, client: Client, pipeline: LoadedPipeline, runs: int) -> list[str]:
        ids = [client.submit(pipeline, {"learning_rate": learning_rate(run)}) for run in range(runs)]
        return [run.rpartition(".")[0] for run in ids]
