"""This project: a private server, one worker process, every run submitted by the Python API."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.cpu import cpu_seconds
from benchmarks.side import BenchmarkError, Timing, log_end, wait_until
from benchmarks.site import Site, Worker
from benchmarks.work import Work, learning_rate
from pipeline_queue.loading.loader import LoadedPipeline


class Ours:
    """One sweep of all the runs: snapshot, `sweep.json` on disk, chains, leases, logs, publication."""

    name = "pipeline_queue"
    parameter = "learning_rate"

    def __init__(self, folder: Path) -> None:
        self._site = Site(folder)
        self._worker: Worker | None = None

    def start(self) -> None:
        self._site.start()
        (self._worker,) = self._site.start_workers(1)

    def measure(self, work: Work, runs: int, limit_seconds: float) -> Timing:
        assert self._worker is not None
        client = self._site.client
        cpu, began = self._cpu_seconds(), time.monotonic()
        submit = self._submit(self._site, client.load(work.pipeline), runs)
        submitted = time.monotonic()
        wait_until(f"{runs} runs end", lambda: not client.has_work(), limit_seconds)
        timing = Timing(time.monotonic() - began, submitted - began, self._cpu_seconds() - cpu)
        succeeded = sum(client.sweep(sweep).counts["succeeded"] for sweep in submit)
        if succeeded != runs:
            raise BenchmarkError(f"{runs - succeeded} of {runs} runs did not succeed:\n{log_end(self._worker.log)}")
        return timing

    def _submit(self, site: Site, pipeline: LoadedPipeline, runs: int) -> list[str]:
        """The ids of the sweeps."""
        values = ",".join(self.value(run) for run in range(runs))
        return [site.submit(pipeline, f"{self.parameter}={values}")]

    def worker_pid(self) -> int:
        assert self._worker is not None
        return self._worker.process.pid

    def value(self, run: int) -> str:
        return str(learning_rate(run))

    def stop(self) -> None:
        self._site.stop()

    def _cpu_seconds(self) -> float:
        assert self._worker is not None
        return cpu_seconds([self._worker.process.pid, self._site.server.process.pid])


class OneByOne(Ours):
    """Every run is a submission of its own, with its own snapshot and its own `sweep.json` on disk."""

    name = "ours, one by one"

    def _submit(self, site: Site, pipeline: LoadedPipeline, runs: int) -> list[str]:
        ids = [site.client.submit(pipeline, {"learning_rate": learning_rate(run)}) for run in range(runs)]
        return [run.rpartition(".")[0] for run in ids]
