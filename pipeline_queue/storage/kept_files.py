"""All that failed attempts left and is kept in a storage: how much it is, and what has to go when it is too much.

`<root>/kept/<day>/<milliseconds>-<bytes>-<random>` are links to the folders of attempts; a name without the first two
is of an earlier version, which told no size.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.storage.sparse_files import taken_bytes
from pipeline_queue.storage.storage import KEPT, KEPT_DAY, Storage

MAX_KEPT_ATTEMPTS = 10_000
"""Of a storage, whatever their size: each takes inodes, and all are looked through."""

_LINK = re.compile(r"(?:([0-9]{1,15})-([0-9]{1,18})-)?([0-9a-f]+)", re.ASCII)
_MOVING_SECONDS = 3600.0
"""So long after the link was made the files may still be on their way to where it leads."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one attempt; `order` sorts the oldest first."""

    order: tuple[str, int, str]
    link: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class KeptTotal:
    """Of a whole storage."""

    attempts: int
    size_bytes: int


def kept_total(storage: Storage) -> KeptTotal:
    """What is there now. Raises OSError."""
    sizes = [kept.size_bytes for kept in _every(storage) if storage.has_kept(kept.link)]
    return KeptTotal(len(sizes), sum(sizes))


def remove_kept_above(storage: Storage, limit_bytes: int, limit_attempts: int = MAX_KEPT_ATTEMPTS) -> int:
    """Removes the oldest until the rest is within the limits; of how many attempts. Raises OSError."""
    every = sorted(_every(storage), key=lambda kept: kept.order)
    if _is_within(every, limit_bytes, limit_attempts):
        return 0
    there = []
    for kept in every:
        if storage.has_kept(kept.link):
            there.append(kept)
        elif kept.order[1] < (time.time() - _MOVING_SECONDS) * 1000:
            # A later attempt took its place, or its sweep is removed.
            with contextlib.suppress(OSError):
                kept.link.unlink()
    removed, used = 0, sum(kept.size_bytes for kept in there)
    for number, kept in enumerate(there):
        if used <= limit_bytes and len(there) - number <= limit_attempts:
            break
        with contextlib.suppress(OSError):  # of another user, or gone: the next time
            removed += storage.remove_kept_link(kept.link)
        used -= kept.size_bytes
    return removed


def _is_within(every: list[Kept], limit_bytes: int, limit_attempts: int) -> bool:
    return len(every) <= limit_attempts and sum(kept.size_bytes for kept in every) <= limit_bytes


def _every(storage: Storage) -> Iterator[Kept]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(storage.root / KEPT) as days:
        for day in days:
            if KEPT_DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                yield from _of_day(storage, day.name, Path(day.path))


def _of_day(storage: Storage, day: str, folder: Path) -> Iterator[Kept]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as links:
        for link in links:
            found = _LINK.fullmatch(link.name)
            if found is None or not link.is_symlink():
                continue
            path = Path(link.path)
            size = int(found[2]) if found[2] else _size_of(path / KEPT) if storage.has_kept(path) else 0
            yield Kept((day, int(found[1] or 0), link.name), path, size)


def _size_of(folder: Path) -> int:
    """What the files below take. Nothing of what cannot be read."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = (Path(path) / name).lstat()
                size += taken_bytes(status)
    return size
