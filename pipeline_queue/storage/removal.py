"""Removes unused data: folders whatever they contain, and snapshots and reused steps that nothing refers to.

A file or folder that a process may start to use at the same moment is first renamed, then checked again: the process
either touches it before the check, or does not find it and creates its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline_queue.storage.files import is_there

_YOUNG_SECONDS = 3600.0
"""A submitter touches its snapshot, then names it in `sweep.json` a moment later; so younger snapshots stay."""


def remove_unnamed(path: Path, is_named: Callable[[], bool]) -> None:
    """Removes a file unless it is young or still named by a sweep. Raises OSError."""
    if not is_there(path) or _is_young(path) or is_named():
        return
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    path.rename(hidden)
    if _is_young(hidden) or is_named():
        hidden.replace(path)
    else:
        hidden.unlink()


def _is_young(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < _YOUNG_SECONDS


def remove_unlinked(folder: Path, older_than_seconds: float, links: Callable[[], set[str]]) -> tuple[int, int]:
    """Removes the entries whose names `links` does not return. Returns how many it removed and how many stay.

    Raises OSError.
    """
    for left in folder.glob(".*"):
        remove_whole(left)  # left by a process that was stopped
    young = time.time() - older_than_seconds
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    linked = links()
    unused = [name for name in names if name not in linked and (folder / name).stat().st_mtime <= young]
    for name in unused:
        (folder / name).rename(folder / f".{name}")
    linked = links() if unused else linked
    removed = 0
    for name in unused:
        hidden = folder / f".{name}"
        if (name in linked or hidden.stat().st_mtime > young) and not is_there(folder / name):
            hidden.rename(folder / name)
        else:
            remove_whole(hidden)
            removed += 1
    return removed, len(names) - removed


def links_into(folder: str, above: str) -> Iterator[str]:
    """Yields the target's name for each link in the folder whose target's parent is called `above`."""
    for entry in os.scandir(folder):
        if entry.is_symlink():
            parent, name = os.path.split(os.readlink(entry.path))  # noqa: PTH115 - a string for speed: there are many
            if os.path.basename(parent) == above:  # noqa: PTH119
                yield name


def remove_whole(folder: Path) -> None:
    """Removes a folder, even with unreadable ones in it. What cannot be removed stays hidden for the next call."""

    def with_rights(function: Callable[..., Any], path: str, _: Any) -> None:
        with suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120 - rmtree passes strings
            os.chmod(path, 0o700)  # noqa: PTH101
        with suppress(OSError):
            shutil.rmtree(path) if function in (os.scandir, os.open, os.lstat) else function(path)

    shutil.rmtree(folder, onerror=with_rights)
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
