"""Defines the names of all our Redis keys, in one place; version 1."""

from __future__ import annotations

from pipeline_queue.contract.ids import RunId

_PREFIX = "pq1:"

LEASES = f"{_PREFIX}leases"
RETRIES = f"{_PREFIX}retries"
ACTIVE = f"{_PREFIX}active"
TOKEN = f"{_PREFIX}token"
WORKERS = f"{_PREFIX}workers"
RECONCILER = f"{_PREFIX}reconciler"
SERVER = f"{_PREFIX}server"
"""The run id of the server that was last filled completely from the storage."""
SWEEPS = f"{_PREFIX}sweeps"
SUBMITTED = f"{_PREFIX}submitted"
"""Sweeps that a submitter is about to commit and open, by time."""
DEAD = f"{_PREFIX}dead"
STORAGE = f"{_PREFIX}storage"
"""The token of the one storage that belongs to this broker."""


def filling_key(mark: str) -> str:
    """Exists while a process fills the server from the storage, unless the server is flushed in the meantime."""
    return f"{_PREFIX}filling:{mark}"


def forgotten_key(sweep: str) -> str:
    """Exists for a while after a sweep was removed, because its messages may arrive late."""
    return f"{_PREFIX}forgotten:{sweep}"


def run_key(run: RunId) -> str:
    return f"{_PREFIX}run:{run}"


RUNS = f"{_PREFIX}run:"
"""Prefix of the names of all run hashes; the run's id follows."""

EVERY_SWEEP = "*"
"""The scope of steps shared by all sweeps; cannot be the name of a sweep."""


def runs_of(sweep: str) -> str:
    """Prefix of the names of a sweep's run hashes; the index follows."""
    return f"{_PREFIX}run:{sweep}."


def sweep_key(sweep: str) -> str:
    return f"{_PREFIX}sweep:{sweep}"


def flight_key(sweep: str) -> str:
    return f"{_PREFIX}flight:{sweep}"


def leaders_key(scope: str) -> str:
    return f"{_PREFIX}leaders:{scope}"


def parked_key(scope: str, shared: str) -> str:
    return f"{_PREFIX}parked:{scope}:{shared}"


def shared_failures_key(sweep: str) -> str:
    return f"{_PREFIX}shared-failures:{sweep}"


def reopened_key(sweep: str) -> str:
    """A bitmap: the indexes of runs that wait to be allotted again."""
    return f"{_PREFIX}redo:{sweep}"


def held_key(sweep: str) -> str:
    """A set: the indexes of runs whose next step waits until their paused sweep is resumed."""
    return f"{_PREFIX}held:{sweep}"


def causes_key(sweep: str) -> str:
    return f"{_PREFIX}causes:{sweep}"


_OF_A_SWEEP = tuple(f"{_PREFIX}{kind}:" for kind in ("sweep", "flight", "redo"))


def is_run_hash(key: str) -> bool:
    return key.startswith(RUNS)


def is_sweep_hash(key: str) -> bool:
    return key.startswith(_OF_A_SWEEP[0])


_PROBES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((WORKERS,), ("HLEN",)),
    **dict.fromkeys((ACTIVE, SWEEPS), ("SREM", "")),
    **dict.fromkeys((LEASES, RETRIES, SUBMITTED), ("ZSCORE", "")),
    **dict.fromkeys((TOKEN, RECONCILER, SERVER, STORAGE), ("GET",)),
    **dict.fromkeys((sweep_key(""), RUNS, leaders_key(""), shared_failures_key(""), causes_key("")), ("HLEN",)),
    **dict.fromkeys((parked_key("", "")[:-1], held_key("")), ("SREM", "")),
    flight_key(""): ("ZSCORE", ""),
    **dict.fromkeys((reopened_key(""), filling_key(""), forgotten_key("")), ("GET",)),
}


def probe_of(key: str) -> tuple[str, ...]:
    """A command without effect that succeeds only if the key has the type that we give it.

    The result omits the key, which belongs after the first word. The documented ACL rules allow the command.
    """
    if key in _PROBES:
        return _PROBES[key]
    if key.startswith("_kombu.binding."):
        return ("SREM", "")
    kind = next((kind for kind in _PROBES if kind.endswith(":") and key.startswith(kind)), "")
    return _PROBES.get(kind, ("LLEN",))  # the dead letters and the queues' lists


def dropped_with(key: str) -> tuple[str, ...]:
    """The keys to drop when this one is unreadable, itself first: the others are useless without it, and are rebuilt.

    The sweep monitor restores a sweep without its hash from the storage. Recovery searches the storage for sweeps when
    the server is not marked as complete.
    """
    if key in (SWEEPS, SUBMITTED):
        return key, SERVER
    kind = next((kind for kind in _OF_A_SWEEP if key.startswith(kind)), "")
    if not kind:
        return (key,)
    # A sweep's runs in flight and its counts of ended runs are only useful together.
    sweep = key.removeprefix(kind)
    return sweep_key(sweep), flight_key(sweep), reopened_key(sweep)
