"""The names of everything kept in Redis, written once; version 1."""

from __future__ import annotations

from pipeline_queue.contract.identity import RunId

_PREFIX = "pq1:"

LEASES = f"{_PREFIX}leases"
RETRIES = f"{_PREFIX}retries"
ACTIVE = f"{_PREFIX}active"
TOKEN = f"{_PREFIX}token"
WORKERS = f"{_PREFIX}workers"
RECONCILER = f"{_PREFIX}reconciler"
SWEEPS = f"{_PREFIX}sweeps"
DEAD = f"{_PREFIX}dead"


def run_key(run: RunId) -> str:
    return f"{_PREFIX}run:{run}"


def runs_of(sweep: str) -> str:
    """What the names of all run hashes of a sweep begin with; the index follows."""
    return f"{_PREFIX}run:{sweep}."


def sweep_key(sweep: str) -> str:
    return f"{_PREFIX}sweep:{sweep}"


def flight_key(sweep: str) -> str:
    return f"{_PREFIX}flight:{sweep}"


def shared_key(sweep: str) -> str:
    return f"{_PREFIX}shared:{sweep}"


def parked_key(sweep: str, identity: str) -> str:
    return f"{_PREFIX}parked:{sweep}:{identity}"


def redo_key(sweep: str) -> str:
    """A bitmap: the indexes of runs that wait to be taken into the window again."""
    return f"{_PREFIX}redo:{sweep}"


def causes_key(sweep: str) -> str:
    return f"{_PREFIX}causes:{sweep}"
