"""Tracks and limits the files that a storage keeps of failed attempts: their total size, and which to remove first.

`<root>/kept/<day>/<milliseconds>-<bytes>-<random>` are links to the folders of attempts. A name without the first two
parts comes from an earlier version, which did not record the size.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipeline_queue.storage.access import make_folder
from pipeline_queue.storage.atomic import make_link
from pipeline_queue.storage.files import names_in, remove_file
from pipeline_queue.storage.layout import KEPT, KEPT_DAY, LOST, SWEEPS
from pipeline_queue.storage.patience import repeat_until_done
from pipeline_queue.storage.run_store import KeptTotal
from pipeline_queue.storage.sparse_files import taken_bytes

MAX_KEPT_ATTEMPTS = 10_000
"""Per storage, regardless of their size: each takes inodes, and every check goes through all of them."""

_LINK = re.compile(r"(?:([0-9]{1,15})-([0-9]{1,18})-)?([0-9a-f]+)", re.ASCII)
_MOVING_SECONDS = 3600.0
"""For this long after the link was created, the files may still be moving to its target."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The files kept of one attempt; `order` sorts the oldest first."""

    order: tuple[str, int, str]
    link: Path
    size_bytes: int


def note_kept(root: Path, attempt: Path, day: date, size_bytes: int | None = None) -> None:
    """Records that an attempt's folder has kept files, so that they are found and removed when they are old.

    `size_bytes`: their size, which counts towards the limit for the whole storage.

    Raises OSError.
    """
    folder = root / KEPT / day.isoformat()
    make_folder(folder, exist_ok=True)
    first = "" if size_bytes is None else f"{time.time_ns() // 1_000_000}-{size_bytes}-"
    make_link(folder / f"{first}{secrets.token_hex(8)}", os.path.relpath(attempt, folder))


def remove_kept(root: Path, before: date) -> int:
    """Removes the files kept before that day. Returns the number of attempts they belonged to. Raises OSError.

    Files that cannot be removed stay until the next call.
    """
    removed = 0
    for day in [root / KEPT / name for name in sorted(names_in(root / KEPT))]:
        if not KEPT_DAY.fullmatch(day.name) or day.name >= before.isoformat():
            continue
        for link in [day / name for name in names_in(day)]:
            with contextlib.suppress(OSError):
                removed += _remove_kept_link(root, link)
        with contextlib.suppress(OSError):
            day.rmdir()
    return removed


def kept_total(root: Path) -> KeptTotal:
    """The number and size of the kept files now. Raises OSError."""
    sizes = [kept.size_bytes for kept in _every(root) if _has_kept(root, kept.link)]
    return KeptTotal(len(sizes), sum(sizes))


def remove_kept_above(root: Path, limit_bytes: int, limit_attempts: int = MAX_KEPT_ATTEMPTS) -> int:
    """Removes the oldest until the rest is within the limits. Returns the number of attempts. Raises OSError."""
    every = sorted(_every(root), key=lambda kept: kept.order)
    if _is_within(every, limit_bytes, limit_attempts):
        return 0
    there = []
    for kept in every:
        if _has_kept(root, kept.link):
            there.append(kept)
        elif kept.order[1] < (time.time() - _MOVING_SECONDS) * 1000:
            # A later attempt has replaced it, or its sweep was deleted.
            with contextlib.suppress(OSError):
                kept.link.unlink()
    removed, used = 0, sum(kept.size_bytes for kept in there)
    for number, kept in enumerate(there):
        if used <= limit_bytes and len(there) - number <= limit_attempts:
            break
        with contextlib.suppress(OSError):  # another user's, or gone: the next call tries again
            removed += _remove_kept_link(root, kept.link)
        used -= kept.size_bytes
    return removed


def _is_within(every: list[Kept], limit_bytes: int, limit_attempts: int) -> bool:
    return len(every) <= limit_attempts and sum(kept.size_bytes for kept in every) <= limit_bytes


def _every(root: Path) -> Iterator[Kept]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / KEPT) as days:
        for day in days:
            if KEPT_DAY.fullmatch(day.name) and day.is_dir(follow_symlinks=False):
                yield from _of_day(root, day.name, Path(day.path))


def _of_day(root: Path, day: str, folder: Path) -> Iterator[Kept]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as links:
        for link in links:
            found = _LINK.fullmatch(link.name)
            if found is None or not link.is_symlink():
                continue
            path = Path(link.path)
            size = int(found[2]) if found[2] else _size_of(path / KEPT) if _has_kept(root, path) else 0
            yield Kept((day, int(found[1] or 0), link.name), path, size)


def _size_of(folder: Path) -> int:
    """The size of the files below, without those that cannot be read."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = (Path(path) / name).lstat()
                size += taken_bytes(status)
    return size


def _has_kept(root: Path, link: Path) -> bool:
    """Whether a link that `note_kept` created leads to kept files."""
    try:
        folders = _kept_of(root, link)
    except OSError:
        return False
    return any(repeat_until_done(folder.is_dir) for folder in folders)


def _remove_kept_link(root: Path, link: Path) -> bool:
    """Removes such a link and the files that it leads to. Returns whether there were any. Raises OSError."""
    removed = False
    for folder in _kept_of(root, link):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            repeat_until_done(lambda folder=folder: shutil.rmtree(folder))  # type: ignore[misc]
            removed = True
    remove_file(link)
    return removed


def _kept_of(root: Path, link: Path) -> tuple[Path, ...]:
    """The paths where the files may be; none for a link that leads outside the sweeps. Raises OSError."""
    attempt = Path(os.path.normpath(link.parent / repeat_until_done(link.readlink)))
    if not attempt.is_relative_to(root / SWEEPS):
        return ()
    return tuple(folder / KEPT for folder in (attempt, attempt.with_name(f"{attempt.name}{LOST}")))
