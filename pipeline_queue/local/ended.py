"""Removes the environments of submitters whose sweeps have ended: they may hold secrets, and nothing needs them."""

from __future__ import annotations

import time
from contextlib import suppress

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId, is_sweep_id
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.submitted_environment import EnvironmentFolder

_YOUNG_SECONDS = 3600.0
"""A submitter writes the environment first and commits a moment later."""


def remove_ended_environments(folder: EnvironmentFolder, storage: RunStore) -> None:
    """What cannot be read just now stays, as does that of a sweep which is not committed yet."""
    for sweep, written_at in folder.sweeps():
        with suppress(StorageError, OSError):
            if _has_ended(storage, sweep, time.time() - written_at > _YOUNG_SECONDS):
                folder.remove(sweep)


def _has_ended(storage: RunStore, name: str, is_old: bool) -> bool:
    if not is_sweep_id(name):
        return is_old
    try:
        if storage.read_sweep(name).total > 1:
            return storage.sweep_end(name) is not None
        sweep = Sweep.read(storage, name)
        return sweep.paths(storage, RunId(name, 0)).end() is not None
    except NotFoundError:
        return is_old
