"""Reads records: returns None for a missing one, raises for a damaged one, waits for one that is not visible yet."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline_queue.contract.errors import StorageAwayError, StorageError
from pipeline_queue.contract.records import Record, StepRecord
from pipeline_queue.storage.access import describe_failed
from pipeline_queue.storage.files import read_awaited, read_bytes
from pipeline_queue.storage.layout import STEP_RECORD
from pipeline_queue.storage.patience import repeat_until_done

_T = TypeVar("_T")
_AnyRecord = TypeVar("_AnyRecord", bound=Record)

HIDDEN_SECONDS = 300.0
"""How long a network file system may cache a folder's content: NFS does it for 60 s unless mount options differ."""


def read_record(kind: type[_AnyRecord], path: Path) -> _AnyRecord | None:
    try:
        data = read_bytes(path)
    except PermissionError as error:
        raise StorageError(describe_failed(path, error, "read")) from error
    if data is None:
        return None
    try:
        return kind.model_validate_json(data)
    except ValueError as error:
        raise StorageError(f"{path} is damaged, or was written by another version of pipeline_queue") from error


def read_step(folder: Path) -> StepRecord | None:
    """Reads the manifest of a published step or an ended attempt. Raises StorageError when it is damaged."""
    return read_record(StepRecord, folder / STEP_RECORD)


def read_published_step(folder: Path) -> StepRecord:
    """The manifest of a step that is known to be published. Waits while this machine does not see it yet.

    Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear, StorageError when it is
    damaged.
    """

    def read() -> StepRecord:
        record = read_step(folder)
        if record is None:
            raise FileNotFoundError(errno.ENOENT, "it has no manifest", str(folder))
        return record

    return read_visible(folder, read)


def read_visible(folder: Path, action: Callable[[], _T]) -> _T:
    """The result of the action, which reads files that were put into the folder. Waits until they are visible.

    Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear, OSError, StorageError.
    """
    try:
        return read_awaited(folder / STEP_RECORD, action)
    except FileNotFoundError as error:
        if not _has_rested(folder):
            raise StorageAwayError(f"{error.filename}: {error.strerror} that this machine sees yet") from error
        raise


def _has_rested(folder: Path) -> bool:
    """Whether the folder's last addition or removal is older than the longest time that a cache can hide it."""
    try:
        return time.time() - repeat_until_done(folder.stat).st_mtime > HIDDEN_SECONDS
    except OSError:
        return False
