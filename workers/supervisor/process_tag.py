"""A mark on every process below one supervisor, which leaving its session and clearing its environment do not remove.

It is a resource limit that Linux has kept without a meaning since 2.4.25 (how many file locks): inherited by whatever a
step starts, and nobody has a reason to change it.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from workers.supervisor.process_tree import read_status

_FILE_LOCKS = 10
_NAME = "Max file locks"
_HIGHEST = 2**62
# The kernel gives no higher pid than 2**22.
_PID_BITS = 22


def tag_own_process() -> int | None:
    """From now on this process and all it starts carry this mark; None where that is refused."""
    tag = process_tag(os.getpid())
    try:
        resource.setrlimit(_FILE_LOCKS, (tag, tag))
    except (OSError, ValueError):
        return None
    return tag


def process_tag(pid: int) -> int:
    """The mark of the process of this pid, a child of the caller or the caller itself, not marked yet.

    Of no other process since the machine was started, not even in a container, where pids begin anew.
    """
    above = resource.getrlimit(_FILE_LOCKS)[1]
    status = read_status(pid)
    unique = ((status.start_ticks if status else 0) << _PID_BITS) + pid
    # Lower than what is above: a worker may run within a step of another, and limits can only go down.
    return (_HIGHEST if above == resource.RLIM_INFINITY else above) - unique


def read_process_tag(pid: int) -> int | None:
    """The mark a process carries, None when it has none or is gone."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return None
    values = [line.removeprefix(_NAME).split()[1] for line in lines if line.startswith(_NAME)]
    return int(values[0]) if values and values[0].isdecimal() else None
