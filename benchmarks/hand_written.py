"""The side of the hand-written Celery chain: its own private server, the default pool, nothing but the steps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.cpu import cpu_seconds
from benchmarks.side import SLOTS, BenchmarkError, Timing, log_end, start_process, stop_process, wait_until
from benchmarks.work import ROOT, Work, environment, learning_rate
from pipeline_queue.index.connection import connect
from pipeline_queue.local.server import Server, start_server


class HandWritten:
    """It keeps no logs and no outputs of steps apart, knows no leases and sends no events: the least one can do."""

    name = "celery chain"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "worker.log"
        self._server: Server | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._redis: Any = None

    def start(self) -> None:
        self._folder.mkdir()
        self._server = start_server(self._folder / "server.log")
        urls = {
            "PLAIN_CHAIN_BROKER": self._server.broker_url,
            "PLAIN_CHAIN_COUNTER": self._server.broker_url.replace("redis+socket:", "unix:"),
        }
        os.environ.update(urls)
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.plain_chain", "worker"]
        command += ["--concurrency", str(SLOTS), "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
        self._worker = start_process(command, environment(**urls), ROOT, self._log)
        self._redis = connect(self._server.broker_url)
        wait_until("the worker of the plain chain is ready", self._is_ready)

    def measure(self, work: Work, runs: int, limit_seconds: float) -> Timing:
        from benchmarks.plain_chain import submit  # reads the broker's URL, which is known only now

        self._redis.set("ended", 0)
        cpu, began = self._cpu_seconds(), time.monotonic()
        for run in range(runs):
            submit(work.commands(run, learning_rate(run)), str(self._folder))
        submitted = time.monotonic()
        wait_until(f"{runs} chains end", lambda: int(self._redis.get("ended")) >= runs, limit_seconds)
        return Timing(time.monotonic() - began, submitted - began, self._cpu_seconds() - cpu)

    def stop(self) -> None:
        stop_process(self._worker)
        if self._redis:
            self._redis.close()
        if self._server:
            self._server.stop()

    def _cpu_seconds(self) -> float:
        assert self._worker is not None and self._server is not None
        return cpu_seconds([self._worker.pid, self._server.process.pid])

    def _is_ready(self) -> bool:
        assert self._worker is not None
        if self._worker.poll() is not None:
            raise BenchmarkError(f"the worker ended with {self._worker.returncode}:\n{log_end(self._log)}")
        return b" ready." in self._log.read_bytes()
