"""The real command line, as a user's shell runs it: what it printed, how long it took, how much memory it had."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.side import BenchmarkError
from benchmarks.site import Site
from pipeline_queue.local.server import die_with_parent

COMMAND_SECONDS = 120.0
"""How long a command that does not wait for runs may take before it counts as hung."""

_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended. `peak_bytes` is the most memory it had at a time."""

    exit_code: int
    out: str
    err: str
    seconds: float
    peak_bytes: int

    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """A `pipeline-queue` command that runs; its output goes to files, so that it never blocks on a full pipe."""

    def __init__(self, site: Site, *words: str) -> None:
        self._words = words
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed by the end
        self._peak_bytes = 0
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline_queue", *words],
            cwd=site.folder,
            env=site.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            preexec_fn=die_with_parent,
        )

    def wait(self, limit_seconds: float = COMMAND_SECONDS, exit_code: int = 0) -> Done:
        """Raises BenchmarkError when it takes longer or ends otherwise."""
        until = self._began + limit_seconds
        while self.process.poll() is None:
            self._peak_bytes = max(self._peak_bytes, _peak_bytes(self.process.pid))
            if time.monotonic() > until:
                self.kill()
                raise BenchmarkError(f"{self._shown()} did not end within {limit_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
        seconds = time.monotonic() - self._began
        with self._out, self._err:
            out, err = _text(self._out), _text(self._err)
        if self.process.returncode != exit_code:
            raise BenchmarkError(f"{self._shown()} ended with {self.process.returncode}:\n{out[-500:]}{err[-1500:]}")
        return Done(self.process.returncode, out, err, seconds, self._peak_bytes)

    def kill(self) -> bool:
        """With SIGKILL; whether it was still there to be killed."""
        self.process.kill()
        with self._out, self._err:
            return self.process.wait() < 0

    def _shown(self) -> str:
        return f"pipeline-queue {' '.join(self._words)[:200]}"


def run_command(site: Site, *words: str, limit_seconds: float = COMMAND_SECONDS, exit_code: int = 0) -> Done:
    """Raises BenchmarkError when it takes longer or ends otherwise."""
    return Command(site, *words).wait(limit_seconds, exit_code)


def _peak_bytes(process: int) -> int:
    """Of the program that runs now; getrusage would count this process's memory at the fork too."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))
