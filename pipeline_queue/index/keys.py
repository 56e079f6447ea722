"""The names of everything kept in Redis, written once; version 1."""

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
"""The run id of the server for which everything here was last made complete from the storage."""
SWEEPS = f"{_PREFIX}sweeps"
SUBMITTED = f"{_PREFIX}submitted"
"""Sweeps that a submitter is about to commit and make known, by time."""
DEAD = f"{_PREFIX}dead"
STORAGE = f"{_PREFIX}storage"
"""The token of the one storage that belongs to this broker."""


def filling_key(mark: str) -> str:
    """Is there while somebody makes the server complete, unless it is emptied meanwhile."""
    return f"{_PREFIX}filling:{mark}"


def forgotten_key(sweep: str) -> str:
    """Is there for a while after a sweep was removed: messages of it may come late."""
    return f"{_PREFIX}forgotten:{sweep}"


def run_key(run: RunId) -> str:
    return f"{_PREFIX}run:{run}"


RUNS = f"{_PREFIX}run:"
"""What the names of all run hashes begin with; the run's id follows."""

EVERY_SWEEP = "*"
"""As a scope of shared steps, instead of a sweep: not the name of one."""


def runs_of(sweep: str) -> str:
    """What the names of all run hashes of a sweep begin with; the index follows."""
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
    """A bitmap: the indexes of runs that wait to be taken into the window again."""
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
    """A command that changes nothing, which Redis answers for a key of the type that we give it and for no other.

    Without the key, which comes after its first word. The rules of documented users allow it.
    """
    if key in _PROBES:
        return _PROBES[key]
    if key.startswith("_kombu.binding."):
        return ("SREM", "")
    kind = next((kind for kind in _PROBES if kind.endswith(":") and key.startswith(kind)), "")
    return _PROBES.get(kind, ("LLEN",))  # the dead list, and those of queues


def dropped_with(key: str) -> tuple[str, ...]:
    """The keys that go when this one cannot be read, itself first: they make no sense without it, and are made again.

    A sweep without its hash is restored from the storage by whoever looks after it; the storage is searched for
    sweeps when the server is not said to be complete.
    """
    if key in (SWEEPS, SUBMITTED):
        return key, SERVER
    kind = next((kind for kind in _OF_A_SWEEP if key.startswith(kind)), "")
    if not kind:
        return (key,)
    # Which runs of a sweep are in flight and how many have ended is known together, or not at all.
    sweep = key.removeprefix(kind)
    return sweep_key(sweep), flight_key(sweep), reopened_key(sweep)
