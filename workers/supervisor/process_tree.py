"""What /proc says of process trees, and signals that cannot reach a recycled pid."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass

_PR_SET_CHILD_SUBREAPER = 36
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One line of /proc/<pid>/stat; a pid together with `start_ticks` names one process for ever."""

    parent: int
    session: int
    start_ticks: int
    is_zombie: bool


def become_subreaper() -> None:
    """Make this process the parent of every orphan among its descendants."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot become a subreaper: {os.strerror(number)}")


def read_status(pid: int) -> ProcessStatus | None:
    """The status of a process, None when there is none of this pid."""
    text = _read(f"/proc/{pid}/stat")
    # The name in parentheses may itself hold spaces and parentheses.
    fields = text.rpartition(b")")[2].split()
    if len(fields) < 20:
        return None
    return ProcessStatus(
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        is_zombie=fields[0] in (b"Z", b"X"),
    )


def read_marker(pid: int, name: str) -> str | None:
    """An environment variable a process was started with, None when not there or not readable."""
    prefix = name.encode() + b"="
    for entry in _read(f"/proc/{pid}/environ").split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("utf-8", "surrogateescape")
    return None


def open_outputs(pid: int) -> set[str]:
    """What the standard output and error of a process are, as /proc names it (`pipe:[123]`)."""
    found = set()
    for number in (1, 2):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))  # noqa: PTH115 - the text is no path
    return found


def children_of(pid: int) -> list[int]:
    """The direct children of a process, of all its threads, zombies included.

    Complete for a process that only itself reaps its children and is not reaping now; for others some may be
    missed while they come and go, so ask again after signalling.
    """
    if not _has_children_files():
        return _scan_children().get(pid, [])
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - a hot path
    except OSError:
        return []
    return [int(word) for tid in threads for word in _read(f"/proc/{pid}/task/{tid}/children").split()]


def descendants(roots: Iterable[int]) -> list[int]:
    """The roots and all their descendants by parent links, parents first."""
    every_parent = None if _has_children_files() else _scan_children()
    found: dict[int, None] = dict.fromkeys(roots)
    waiting = list(found)
    while waiting:
        pid = waiting.pop()
        for child in children_of(pid) if every_parent is None else every_parent.get(pid, []):
            if child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)


def send_signal(pid: int, start_ticks: int, number: int) -> None:
    """Signal exactly this process: no other that got its pid, no error when it is gone or not ours."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE):
            raise
        handle = None
    try:
        status = read_status(pid)
        if status is None or status.start_ticks != start_ticks:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if handle is None:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
    finally:
        if handle is not None:
            os.close(handle)


def may_signal(child: int) -> bool:
    """Whether this process is allowed to end one of its own children (a set-user-id program may not be)."""
    try:
        os.kill(child, 0)
    except PermissionError:
        return False
    except ProcessLookupError:
        return True
    return True


def reap(child: int) -> bool:
    """Collect one child if it is dead; True when it is gone."""
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True


def _has_children_files() -> bool:
    """Whether this kernel was built with /proc/<pid>/task/<tid>/children."""
    global _children_files
    if _children_files is None:
        pid = os.getpid()
        _children_files = os.access(f"/proc/{pid}/task/{pid}/children", os.R_OK)
    return _children_files


_children_files: bool | None = None


def _scan_children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and (status := read_status(int(name))) is not None:
            found.setdefault(status.parent, []).append(int(name))
    return found


def _read(path: str) -> bytes:
    """A whole file of /proc; empty when the process is gone or the file is not for us."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    parts = []
    try:
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts)
