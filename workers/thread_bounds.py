"""How many threads a step's numeric libraries may use: its slot's share of the worker's cores.

Left alone, each of them starts a thread per core in every slot, and the slots slow each other down.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_OMP = "OMP_NUM_THREADS"
_VARIABLES = (_OMP, "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_CGROUPS = Path("/sys/fs/cgroup")


def thread_bounds(threads: int, set_names: Iterable[str]) -> dict[str, str]:
    """The variables that bound a step's libraries to `threads`; none for 0.

    A variable in `set_names` wins. OpenBLAS, MKL and NumExpr prefer their own variable to OMP_NUM_THREADS: where that
    is set already, ours would override it, so there are none.
    """
    names = set(set_names)
    if threads < 1 or _OMP in names:
        return {}
    return {name: str(threads) for name in _VARIABLES if name not in names}


def share_of_slot(cpus: float, slots: int) -> int:
    """Whole cores per slot, at least one."""
    return max(1, int(cpus // slots))


def available_cpus() -> float:
    """The cores that this process may use: by affinity, and by the quota of its control group (a container's limit)."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        membership = Path("/proc/self/cgroup").read_text()
    except OSError:
        membership = ""
    quota = quota_cpus(membership, _CGROUPS)
    return cores if quota is None else min(cores, quota)


def quota_cpus(membership: str, root: Path) -> float | None:
    """The smallest CPU quota of a process's cgroup (version 2) and those around it, in cores; None without one.

    `membership` is the text of /proc/PID/cgroup.
    """
    own = next((line.removeprefix("0::") for line in membership.splitlines() if line.startswith("0::")), "/")
    path = PurePosixPath(own.lstrip("/"))
    quotas = [_quota_of(root / folder / "cpu.max") for folder in (path, *path.parents) if ".." not in folder.parts]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(file: Path) -> float | None:
    try:
        quota, period = (int(word) for word in file.read_text().split())
    except (OSError, ValueError):  # `max` is no number: no quota
        return None
    return quota / period if quota > 0 and period > 0 else None
