"""The marker `pipeline_queue.json`, which identifies a storage at every mount point, and the check for write access."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from pipeline_queue.contract.errors import StorageAwayError, StorageError
from pipeline_queue.storage.access import describe_denied, find_denied, is_denied, make_folder
from pipeline_queue.storage.atomic import create_exclusive
from pipeline_queue.storage.files import is_there, read_whole
from pipeline_queue.storage.layout import MARKER, VERSION
from pipeline_queue.storage.patience import repeat_until_done


def make_storage(root: Path, folders: Iterable[Path]) -> None:
    """Creates the folders and the marker unless they exist. Raises StorageError."""
    try:
        for folder in (root, *folders):
            make_folder(folder, exist_ok=True)
        if not is_there(root / MARKER):
            create_exclusive(root / MARKER, json.dumps({"v": VERSION, "token": secrets.token_hex(8)}).encode())
    except OSError as error:
        if is_denied(error):
            raise StorageError(describe_denied(Path(str(error.filename or root)), root)) from error
        raise StorageError(f"the storage {root} cannot be written: {error.strerror or error}") from error


def read_token(root: Path) -> str:
    """The token in the marker. Raises StorageError when there is no marker."""
    path = root / MARKER
    try:
        marker = json.loads(repeat_until_done(lambda: read_whole(path)))
    except FileNotFoundError as error:
        raise StorageAwayError(f"{root} is no storage: {MARKER} is not there; is it mounted?") from error
    except OSError as error:
        raise unreadable(root, path, error) from error
    except ValueError as error:
        raise StorageError(f"{path} is not readable JSON; is {root} a storage?") from error
    if not isinstance(marker, dict) or marker.get("v") != VERSION:
        raise StorageError(f"{root} was made by another version of pipeline_queue (this one reads {VERSION})")
    return str(marker.get("token", ""))


def check_token(root: Path, expected: str) -> None:
    """Raises StorageError unless the storage has this token."""
    found = read_token(root)
    if found != expected:
        raise StorageError(
            f"{root} is another storage ({found}) than the one this broker's runs are in ({expected}); "
            "mount that one; `pipeline-queue doctor --adopt-storage` has the broker use this one from now on"
        )


def check_access(root: Path, folders: Iterable[Path]) -> None:
    """Raises StorageError when this user may not write to one of the folders."""
    denied = find_denied(folders)
    if denied is not None:
        raise StorageError(describe_denied(denied, root))


def unreadable(root: Path, path: Path, error: OSError) -> StorageError:
    """The error for a file of the storage that cannot be read."""
    if is_denied(error):
        return StorageError(describe_denied(path, root, "read"))
    return StorageError(f"the storage {root} cannot be read: {error.strerror or error}")
