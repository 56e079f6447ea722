"""The processor time that a side has used: the measure that other work on the machine disturbs least."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from pathlib import Path

from workers.supervisor.process_tree import descendants

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(processes: Iterable[int]) -> float:
    """What this process, the given ones and all they started have used so far, the dead and collected included."""
    own = sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
    return own + sum(_seconds(pid) for pid in descendants(processes))


def _seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    # utime, stime, cutime, cstime: fields 14 to 17, of which the first here is the third.
    return sum(int(field) for field in fields[11:15]) / _TICKS_PER_SECOND
