"""Lists the folders of a storage: the sweeps with their ages, and the runs of a sweep."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline_queue.storage.files import names_in
from pipeline_queue.storage.layout import RUN_FOLDER, THOUSAND


def run_paths(runs: Path) -> Iterator[tuple[int, str]]:
    """Yields index and path of every run below the folder `runs`, unordered. Raises OSError, StorageError.

    The paths are strings: with a million runs, creating `Path` objects would take most of the time.
    """
    for name in names_in(runs):
        if THOUSAND.fullmatch(name):
            with contextlib.suppress(NotADirectoryError):
                yield from _matching(f"{runs}/{name}", names_in(f"{runs}/{name}"))
        else:
            yield from _matching(str(runs), (name,))


def _matching(folder: str, names: Iterable[str]) -> Iterator[tuple[int, str]]:
    for name in names:
        if found := RUN_FOLDER.fullmatch(name):
            yield int(found["index"]), f"{folder}/{name}"


def names_and_ages(folder: Path) -> Iterator[tuple[float, str]]:
    """Yields the time of each entry's last change (Unix time in seconds) and its name. Raises OSError."""
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # it has just been removed
            yield entry.stat().st_mtime, entry.name
