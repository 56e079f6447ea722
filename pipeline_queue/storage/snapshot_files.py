"""Writes and reads the packed folders of submissions, each one file under its digest."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.storage.atomic import put_file
from pipeline_queue.storage.files import RawReader, read_awaited

_T = TypeVar("_T")


def put_snapshot(target: Path, tar: IO[bytes]) -> None:
    """Stores a packed folder unless it is there already. Raises StorageError."""
    try:
        if not keep_snapshot(target):
            put_file(tar, target)
    except OSError as error:
        raise StorageError(f"the snapshot cannot be written to {target}: {error.strerror}") from error


def keep_snapshot(path: Path) -> bool:
    """Marks the snapshot as in use: the removal of unused ones spares it. False when there is none. Raises OSError."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:
        pass  # another user owns it
    return True


def read_snapshot(path: Path, action: Callable[[io.BufferedReader], _T]) -> _T:
    """The result of the action, which reads the tar. Temporary errors restart the action at the tar's beginning.

    Raises FileNotFoundError when there is no such snapshot, OSError, StorageError.
    """

    def read() -> _T:
        raw: Any = RawReader(path)  # the type stubs do not accept it as a raw stream
        with io.BufferedReader(raw) as file:
            return action(file)

    return read_awaited(path, read)
