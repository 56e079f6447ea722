"""Removes ended sweeps from the storage, and the snapshots and reused steps that nothing needs any more."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.records import SweepRecord
from pipeline_queue.storage.files import is_there
from pipeline_queue.storage.storage import REUSED, Storage

_YOUNG_SECONDS = 3600.0
"""A submitter touches its snapshot first and names it in `sweep.json` a moment later: what is younger stays."""


def remove_sweep(storage: Storage, record: SweepRecord) -> None:
    """Takes the sweep out of sight at once, then removes it, and its snapshot if it was the last that named it.

    Raises StorageError.
    """
    storage.hide_sweep(record.id)
    for folder in storage.hidden_sweeps():
        _remove(folder)
    try:
        _remove_snapshot(storage, record.snapshot)
    except OSError as error:
        raise StorageError(f"cannot remove {storage.snapshot(record.snapshot)}: {error.strerror}") from error


def remove_reused(storage: Storage, older_than_seconds: float) -> tuple[int, int]:
    """Removes the steps published for all sweeps that no run links to; how many, and how many stay.

    Each is renamed first and looked for again: a worker touches one before it links to it, or misses it and executes
    the step. Raises StorageError.
    """
    folder = storage.reused()
    try:
        for left in folder.glob(".*"):
            _remove(left)  # of somebody who was stopped
        young = time.time() - older_than_seconds
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        linked = _linked(storage)
        unused = [name for name in names if name not in linked and (folder / name).stat().st_mtime <= young]
        for name in unused:
            (folder / name).rename(folder / f".{name}")
        linked = _linked(storage) if unused else linked
        removed = 0
        for name in unused:
            hidden = folder / f".{name}"
            if (name in linked or hidden.stat().st_mtime > young) and not is_there(folder / name):
                hidden.rename(folder / name)
            else:
                _remove(hidden)
                removed += 1
    except OSError as error:
        raise StorageError(f"cannot clean up {folder}: {error.strerror}") from error
    return removed, len(names) - removed


def _linked(storage: Storage) -> set[str]:
    """The names of the reused steps that a run of any sweep links to."""
    found: set[str] = set()
    for sweep in storage.sweeps():
        for _, paths in storage.run_folders(sweep):
            for entry in os.scandir(paths.folder):
                if entry.is_symlink():
                    parent, name = os.path.split(os.readlink(entry.path))  # noqa: PTH115 - a text, and there are many
                    if os.path.basename(parent) == REUSED:  # noqa: PTH119
                        found.add(name)
    return found


def _remove_snapshot(storage: Storage, digest: str) -> None:
    """Renamed first and looked at afterwards: a submitter either touched it before, or misses it and writes its own."""
    path = storage.snapshot(digest)
    if not is_there(path) or _is_young(path) or _is_named(storage, digest):
        return
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    path.rename(hidden)
    if _is_young(hidden) or _is_named(storage, digest):
        hidden.replace(path)
    else:
        hidden.unlink()


def _is_young(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < _YOUNG_SECONDS


def _is_named(storage: Storage, digest: str) -> bool:
    for name in storage.sweeps():
        try:
            if storage.read_sweep(name).snapshot == digest:
                return True
        except NotFoundError:
            continue
        except StorageError:
            return True  # damaged: it may be this one
    return False


def _remove(folder: Path) -> None:
    """Steps may leave folders without rights; what cannot be removed stays hidden and is tried again next time."""

    def with_rights(function: Callable[..., Any], path: str, _: Any) -> None:
        with suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120 - rmtree gives texts
            os.chmod(path, 0o700)  # noqa: PTH101
        with suppress(OSError):
            shutil.rmtree(path) if function in (os.scandir, os.open, os.lstat) else function(path)

    shutil.rmtree(folder, onerror=with_rights)
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
