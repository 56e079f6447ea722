"""Locks by which folders of the scratch folder are known to belong to a worker that lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def hold_lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock until it is closed or this process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # a file system without locks: then nothing there is ever taken for abandoned
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@contextmanager
def if_free(folder: Path) -> Iterator[bool]:
    """Holds the folder's lock; False when a worker that lives has it. Raises OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a step took the rights to it away
        folder.chmod(0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
