"""What lies published, seen from outside: only the folders that users are promised, `runs/<index>-…/<step>/outputs/…`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.limits import join_all

_THOUSAND = re.compile(r"[0-9]{6,}-[0-9]{6,}", re.ASCII)
_RUN = re.compile(r"(0|[1-9][0-9]*)(-.+)?", re.ASCII)
_LOOK_SECONDS = 0.5

Place = tuple[int, str]
"""A run and one of its steps."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A step's folder: `at` and `changed` are when it got its name and when anything below it last changed (boot clock).

    `files` is each output by its path, with the digest of its content.
    """

    folder: Path
    inode: int
    at: float
    changed: float
    files: dict[str, str]


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def look(runs: Path, steps: tuple[str, ...], known: frozenset[Place] = frozenset()) -> dict[Place, Publication]:
    """Every published step that is not known yet."""
    found = {}
    for run, folder in _run_folders(runs):
        for step in steps:
            if (run, step) not in known and (folder / step).is_dir():
                with contextlib.suppress(FileNotFoundError):  # taken away while it was read: what is left tells
                    found[run, step] = _publication(folder / step)
    return found


def ends(runs: Path, wanted: Collection[int]) -> dict[int, str]:
    """What `run.json` says of these runs, as far as they have one."""
    files = {run: folder / "run.json" for run, folder in _run_folders(runs) if run in wanted}
    return {run: file.read_text() for run, file in files.items() if file.exists()}


class Watch:
    """Looks every half second, from a thread of its own, and keeps what it saw first."""

    def __init__(self, runs: Path, steps: tuple[str, ...]) -> None:
        self.first: dict[Place, Publication] = {}
        self._runs = runs
        self._steps = steps
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        join_all([self._thread])

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            self.first.update(look(self._runs, self._steps, frozenset(self.first)))


def _run_folders(runs: Path) -> Iterator[tuple[int, Path]]:
    if not runs.is_dir():
        return
    for entry in os.scandir(runs):
        if _THOUSAND.fullmatch(entry.name):
            yield from _run_folders(Path(entry.path))
        elif found := _RUN.fullmatch(entry.name):
            yield int(found[1]), Path(entry.path)


def _publication(folder: Path) -> Publication:
    """The renaming of a folder sets its ctime; whatever is written below it later has a later one."""
    folder = folder.resolve()
    status = folder.stat()
    files, changed = {}, status.st_ctime_ns
    for path in sorted(folder.rglob("*")):
        below = path.lstat()
        changed = max(changed, below.st_ctime_ns)
        if path.is_relative_to(folder / "outputs") and stat.S_ISREG(below.st_mode):
            files[path.relative_to(folder / "outputs").as_posix()] = digest_of(path.read_bytes())
    return Publication(folder, status.st_ino, _boot(status.st_ctime_ns), _boot(changed), files)


def _boot(wall_ns: int) -> float:
    """A kernel's timestamp on the boot clock."""
    return (wall_ns - time.time_ns() + time.clock_gettime_ns(time.CLOCK_BOOTTIME)) / 1e9
