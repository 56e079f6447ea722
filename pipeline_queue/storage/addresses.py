"""Opens, lists and copies the files at an address that the store has shown to people: a log, published or kept files.

An address is the text that `where` of a run, step or attempt returns, and that reports carry as `outputs`, `log` and
`kept`. Here it is a path; another store would use its own scheme, such as `s3://`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pipeline_queue.storage.files import PatientReader, is_there, open_below, size_of
from pipeline_queue.storage.patience import repeat_until_done
from pipeline_queue.storage.sparse_files import copy_tree


def open_log(address: str) -> PatientReader:
    """Opens a log. The reader reads to the end, then on as the step prints more, even after the step is published.

    Raises FileNotFoundError when there is no log, OSError, StorageError.
    """
    return PatientReader(Path(address))


def log_size(address: str) -> int | None:
    """The size of a log now, None when there is none. Raises OSError, StorageError."""
    return size_of(Path(address))


def open_file(address: str, root: str) -> tuple[IO[bytes], int]:
    """Opens a file below the address `root`, with its size. Raises FileNotFoundError when it is missing, is no file, or
    a link leads out of `root`; OSError, StorageError.
    """
    return open_below(Path(root), Path(address))


def has_files(address: str) -> bool:
    """Whether the files still exist at this address. Raises OSError, StorageError."""
    return is_there(Path(address))


def list_files(address: str) -> list[str]:
    """The addresses of the readable files and links below this address, in order. Raises OSError, StorageError.

    `Path.rglob` is not used: since Python 3.13 it treats an unreachable storage as an empty folder.
    """
    return [str(path) for path in repeat_until_done(lambda: sorted(_files_below(Path(address))))]


def copy_files(address: str, destination: Path) -> None:
    """Copies all files at this address to a new folder on this machine. Raises OSError, StorageError."""
    copy_tree(Path(address), destination)


def _files_below(folder: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path))
        elif entry.is_symlink() or entry.is_file():
            yield Path(entry.path)
