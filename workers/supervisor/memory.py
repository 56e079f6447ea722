"""How much memory a step's whole tree holds, looked at often enough to end it in time; and the system's own killing.

What counts is memory that the system cannot take back: anonymous, shared and swapped-out pages, those that several
processes share in equal parts. Mapped files do not count: their pages can be dropped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection

from workers.supervisor.protocol import Cause, ExecutionResult

_MIN_SECONDS = 0.02
_MAX_SECONDS = 0.5
# A process fills new pages with a few GB a second.
_FASTEST_BYTES_PER_SECOND = 8e9
# The supervisor has other steps: at most this part of its time goes into looking.
_MAX_OF_TIME = 0.05
_KILLED_FIRST = 500
_SHELL_SAYS_KILLED = 128 + signal.SIGKILL
_LOOK_SECONDS = 1.0
# The end of a process that held much memory takes a while after the kill.
_LATELY_SECONDS = 10.0
_FIELDS_OF_BOUND = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_FIELDS_OF_SHARE = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")


class MemoryWatch:
    """The limit of one step; `check_at` is when to look again, on the monotonic clock."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.most_bytes = 0
        self.check_at = time.monotonic() + _MIN_SECONDS

    def is_over(self, pids: Collection[int]) -> bool:
        """Looks at these processes now, and decides when to look again: the sooner the nearer the limit is."""
        began = time.monotonic()
        used = sum(_held_bytes(pid, "status", _FIELDS_OF_BOUND) or 0 for pid in pids)
        if used > self.limit_bytes:
            # Pages that several of them share were counted for each; to know better takes milliseconds.
            used = sum(_share_bytes(pid) for pid in pids)
        self.most_bytes = max(self.most_bytes, used)
        now = time.monotonic()
        headroom = max(0, self.limit_bytes - used) / _FASTEST_BYTES_PER_SECOND
        pause = max((now - began) / _MAX_OF_TIME, min(headroom, _MAX_SECONDS), _MIN_SECONDS)
        self.check_at = now + pause
        return used > self.limit_bytes


class SystemKills:
    """When the system last ended a process of this machine for lack of memory, as far as the kernel counts them."""

    def __init__(self) -> None:
        self._count = _system_kills()
        self._looked_at = time.monotonic()
        self._rose_at: float | None = None

    def begin(self) -> None:
        """Steps run from now on: what happened while none did was not theirs."""
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._look()
            self._rose_at = None

    def keep_looking(self) -> None:
        """Called while steps run, about every second."""
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._look()

    def happened_lately(self) -> bool:
        self._look()
        return self._rose_at is not None and time.monotonic() - self._rose_at < _LATELY_SECONDS

    def _look(self) -> None:
        before, self._count = self._count, _system_kills()
        self._looked_at = time.monotonic()
        if before is not None and self._count is not None and self._count > before:
            self._rose_at = self._looked_at


def kill_first(pid: int) -> None:
    """When the machine's memory runs out, this process goes before its worker and supervisor do."""
    with contextlib.suppress(OSError):
        descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"%d" % _KILLED_FIRST)
        finally:
            os.close(descriptor)


def was_killed(result: ExecutionResult) -> bool:
    """Whether somebody else killed this step, perhaps below a shell."""
    by_signal = result.cause is Cause.SIGNALLED and result.signal == signal.SIGKILL
    return by_signal or (result.cause is Cause.EXITED and result.exit_code == _SHELL_SAYS_KILLED)


def _share_bytes(pid: int) -> int:
    share = _held_bytes(pid, "smaps_rollup", _FIELDS_OF_SHARE)
    # Not readable for a process that changed its user: then what it holds counts whole.
    return (_held_bytes(pid, "status", _FIELDS_OF_BOUND) or 0) if share is None else share


def _held_bytes(pid: int, file: str, names: Collection[bytes]) -> int | None:
    """The sum of these lines of a file of /proc; None when it cannot be read or has none of them."""
    try:
        with open(f"/proc/{pid}/{file}", "rb") as lines:  # noqa: PTH123 - a hot path
            found = [int(line.split()[1]) * 1024 for line in lines if line.startswith(tuple(names))]
    except OSError:
        return None
    return sum(found) if found else None


def _system_kills() -> int | None:
    """Of the whole machine, whether it or a control group ran out."""
    with contextlib.suppress(OSError, ValueError), open("/proc/vmstat", "rb") as lines:  # noqa: PTH123
        for line in lines:
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return None
