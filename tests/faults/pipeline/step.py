"""One step under test: bytes that follow from its number and the step before, in two halves, told to a witness.

`step.py STEP N SECONDS`, where SECONDS holds one figure for each step: `0.2:5:0.2`. The witness is a file outside the
storage that every step appends to, one JSON line for each event.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import time
from pathlib import Path

STEPS = ("one", "two", "three")
BEAT_SECONDS = 0.2
_LINES = 40
_FORKED_WITHOUT_EXEC = 0x40


def output_of(step: str, n: int, previous: bytes) -> bytes:
    """The right content of a step's output file."""
    digest = hashlib.sha256(f"{step} {n} ".encode() + previous)
    lines = []
    for _ in range(_LINES):
        lines.append(digest.hexdigest())
        digest.update(lines[-1].encode())
    return ("\n".join(lines) + "\n").encode()


def file_of(step: str) -> str:
    return f"{step}.out"


class Witness:
    """Says what this process does, in lines that are appended whole; `FAULT_LAB_…` is what its machine told it."""

    def __init__(self, step: str, n: int) -> None:
        self._path = os.environ["FAULT_LAB_WITNESS"]
        machine = os.environ["FAULT_LAB_MACHINE"]
        self._known = {"v": 1, "run": n, "step": step, "execution": secrets.token_hex(6), "machine": machine}
        self._forked = _is_forked()

    def say(self, event: str) -> None:
        # A process that was paused while it started says late that it began: the kernel knows when it did.
        boot = _started() if event == "begin" else time.clock_gettime(time.CLOCK_BOOTTIME)
        told = {"event": event, "pid": os.getpid(), "boot": round(boot, 4), "forked": self._forked}
        line = json.dumps({**self._known, **told}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def rest(self, seconds: float) -> None:
        """Sleeps, and says that it lives."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, BEAT_SECONDS))
            self.say("beat")


def _started() -> float:
    """When this process was made, on the boot clock."""
    return int(_stat()[19]) / os.sysconf("SC_CLK_TCK")


def _is_forked() -> bool:
    """Whether the kernel made this process as a copy of another Python, and not by starting a program in it."""
    return bool(int(_stat()[6]) & _FORKED_WITHOUT_EXEC)


def _stat() -> list[str]:
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()


def main(step: str, n: int, seconds: float) -> None:
    witness = Witness(step, n)
    witness.say("begin")
    place = STEPS.index(step)
    previous = Path(file_of(STEPS[place - 1])).read_bytes() if place else b""
    content = output_of(step, n, previous)
    with Path(file_of(step)).open("wb", buffering=0) as file:
        file.write(content[: len(content) // 2])
        witness.rest(seconds)
        file.write(content[len(content) // 2 :])
    witness.say("end")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3].split(":")[STEPS.index(sys.argv[1])]))
