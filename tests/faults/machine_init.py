"""The first process of a machine: starts the worker, starts it again when it ends, buries what is left to it.

`machine_init.py LIFE LOG -- COMMAND…`. LIFE gets a line for each start and end of the worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

_AGAIN_SECONDS = 0.5


def main(life: Path, log: Path, command: list[str]) -> None:
    while True:
        with log.open("ab") as output:
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _note(life, f"started {worker.pid}")
        _note(life, f"ended {_wait(worker.pid)}")
        time.sleep(_AGAIN_SECONDS)


def _wait(worker: int) -> int:
    """The worker's exit code, or the negative number of the signal that ended it."""
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


def _note(life: Path, text: str) -> None:
    with life.open("a") as file:
        file.write(f"{text} {time.clock_gettime(time.CLOCK_BOOTTIME):.3f}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4:])
