"""What one side of the comparison can do, and the processes it starts and ends."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.work import Work
from pipeline_queue.local.server import die_with_parent

SLOTS = 2
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.005


class BenchmarkError(Exception):
    """A side did not start, did not finish in time or did not do its work."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from before the first submission to the end of the last run, of submitting alone, and of CPU.

    `cpu_seconds` counts the steps, the worker, the server and the submitter.
    """

    seconds: float
    submit_seconds: float
    cpu_seconds: float


class Side(Protocol):
    """Started once, idle while another side is measured."""

    name: str

    def start(self) -> None: ...

    def measure(self, work: Work, runs: int, limit_seconds: float) -> Timing: ...

    def stop(self) -> None: ...


def start_process(argv: Sequence[str], env: dict[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """A process that dies with this one, which must have a single thread."""
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def stop_process(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(
    what: str, is_true: Callable[[], bool], seconds: float = _START_SECONDS, poll_seconds: float = _POLL_SECONDS
) -> None:
    """Looks every few milliseconds, which costs every side that is waited for the same. Raises BenchmarkError."""
    until = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > until:
            raise BenchmarkError(f"{what}: not within {seconds:.0f} s")
        time.sleep(poll_seconds)


def log_end(log: Path, characters: int = 1500) -> str:
    """The last words of a worker, for a message."""
    return log.read_text(errors="replace")[-characters:] if log.exists() else ""
