"""Ends the processes that the service started."""

from __future__ import annotations

import contextlib
import subprocess


def end(process: subprocess.Popen[bytes] | None, seconds: float) -> None:
    """TERM, and KILL when it still lives after so long; None is nothing to end."""
    if process is None:
        return
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
        return
    process.kill()
    process.wait()
