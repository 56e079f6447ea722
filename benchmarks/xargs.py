"""`xargs -P`: a shell for every run, the steps joined by `&&`; no queue, no record, no second machine."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

from benchmarks.cpu import cpu_seconds
from benchmarks.side import SLOTS, BenchmarkError, Timing
from benchmarks.work import Work, environment, learning_rate


class Xargs:
    """The floor: what the steps themselves cost on this machine."""

    name = "xargs -P"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self) -> None:
        self._folder.mkdir()

    def measure(self, work: Work, runs: int, limit_seconds: float) -> Timing:
        lines = [_line(work.commands(run, learning_rate(run))) for run in range(runs)]
        command = ["xargs", "-P", str(SLOTS), "-d", "\\n", "-n", "1", "sh", "-c"]
        cpu, began = cpu_seconds([]), time.monotonic()
        try:
            ended = subprocess.run(
                command,
                input="\n".join(lines).encode(),
                stdout=subprocess.DEVNULL,
                cwd=self._folder,
                env=environment(),
                timeout=limit_seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"xargs did not end within {limit_seconds:.0f} s") from error
        timing = Timing(time.monotonic() - began, 0.0, cpu_seconds([]) - cpu)
        if ended.returncode != 0:
            raise BenchmarkError(f"xargs ended with {ended.returncode}")
        return timing

    def stop(self) -> None:
        return


def _line(commands: list[list[str]]) -> str:
    return " && ".join(shlex.join(argv) for argv in commands)
