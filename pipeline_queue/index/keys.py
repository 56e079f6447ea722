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
