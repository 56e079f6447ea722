"""Waits for processes and threads that fail with words instead of hanging, and signals that reach no wrong process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 60.0
"""For what ends at once on any machine, unless it hangs."""


def signal_process(pid: int | None, number: signal.Signals) -> None:
    """Raises AssertionError without a pid: 0 and -1 would mean whole groups of processes, the tests' own among them."""
    assert pid is not None and pid > 1, f"there is no process to send {number.name} to: {pid}"
    os.kill(pid, number)


def wait_for_end(process: subprocess.Popen[Any], seconds: float = LIMIT_SECONDS) -> int:
    """Its exit code. One that does not end is killed and fails the test, which says what it was doing."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        doing = _describe(process.pid)
        process.kill()
        raise AssertionError(f"{process.args!r} has not ended within {seconds} s: {doing}") from None


def kill_and_wait(process: subprocess.Popen[Any]) -> None:
    process.kill()
    wait_for_end(process)


def join_all(threads: Iterable[threading.Thread], seconds: float = LIMIT_SECONDS) -> None:
    """Raises AssertionError with the names of those that do not end."""
    threads = list(threads)
    for thread in threads:
        thread.join(seconds)
    left = [thread.name for thread in threads if thread.is_alive()]
    assert not left, f"threads have not ended within {seconds} s: {left}"


def _describe(pid: int) -> str:
    """What /proc knows of it: state, where it waits in the kernel, and its children."""
    try:
        folder = Path(f"/proc/{pid}")
        state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        waits_in = (folder / "wchan").read_text(errors="replace") or "nothing"
        children = (folder / "task" / str(pid) / "children").read_text().split()
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    return f"pid {pid}, state {state}, waits in {waits_in}, children {children or 'none'}"
