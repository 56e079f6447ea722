"""The processor time that a side has used: the measure that other work on the machine disturbs least."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(processes: Iterable[int]) -> float:
    """What this process, the given ones and all they started have used so far, the dead and collected included."""
    own = sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
    return own + tree_seconds(processes)


def tree_seconds(processes: Iterable[int]) -> float:
    """What the given processes and all that they started have used so far, the dead and collected included."""
    statuses = {int(folder.name): _status(folder) for folder in Path("/proc").glob("[0-9]*")}
    found = set(processes)
    # A child of a found one may have been read before it, so until nothing is new.
    while new := {pid for pid, (parent, _) in statuses.items() if parent in found} - found:
        found |= new
    return sum(statuses[pid][1] for pid in found if pid in statuses)


def _status(folder: Path) -> tuple[int, float]:
    """The parent of a process, and its seconds of CPU with those of its children that are dead."""
    try:
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0, 0.0
    # The first field here is the third of the file: ppid is 4, utime to cstime are 14 to 17.
    return int(fields[1]), sum(int(field) for field in fields[11:15]) / _TICKS_PER_SECOND
