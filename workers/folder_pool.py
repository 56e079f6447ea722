"""A pool of restored step folders, which later attempts reuse instead of copying the snapshot again."""

from __future__ import annotations

import mmap
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.idle_folders import IdleFolders
from pipeline_queue.storage.disk import Room, room_of
from pipeline_queue.storage.file_tree import remove_tree, whole_stamp_of
from workers.folder_lock import hold_lock
from workers.mounts import file_system_of
from workers.staged_folder import StagedFolder

SHARE_OF_FREE = 10
"""Idle folders take at most one nth (n is this number) of the free bytes and of the free inodes."""
_MAX_INODES = 100_000
"""Limit for all idle folders together; a worker needs about 500 bytes of memory per inode."""
_KNOWN_FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "overlay"})
"""Local file systems whose change times were found to show every change. tmpfs is not among them, because it misses a
write through a mapping that was read first, nor are network file systems, which show changes late."""
_SURE_SECONDS = 10.0
"""A folder that was idle for longer is checked before reuse: a cleanup job may have removed files from it."""
_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE, the clock that the kernel uses for file times; Python has no name for it."""
_TICK_SECONDS = 0.001
_MAX_TICKS = 100
_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: Hashable
    folder: Path
    staged: StagedFolder
    since: float


class FolderPool:
    """The pool of one worker, below `parent`. Every method is thread-safe.

    Only this object knows the state of its folders; so the folders of a killed worker are removed, never reused.
    """

    def __init__(self, parent: Path, max_idle: int) -> None:
        self._parent = parent
        self._max_idle = max_idle
        self._waiting: list[_Waiting] = []
        self._mutex = threading.Lock()
        self._own = parent / secrets.token_hex(6)
        self._lock = -1
        self._is_fit: bool | None = None

    def take(self, key: Hashable, target: Path) -> StagedFolder | None:
        """Moves an idle folder of this key to `target`. Returns what is staged in it, None when there is no folder."""
        while (found := self._pop(key)) is not None:
            try:
                found.folder.rename(target)
                is_sure = time.monotonic() - found.since <= _SURE_SECONDS or found.staged.is_unchanged(target)
                if is_sure and wait_past(found.staged.newest_ns):
                    return found.staged
            except OSError:
                pass  # a cleanup job has removed it
            remove_tree(found.folder)
            remove_tree(target)
        return None

    def put(self, key: Hashable, folder: Path, staged: StagedFolder) -> bool:
        """Adds a folder in its staged state. False when there is no space: then it stays where it is.

        Raises OSError.
        """
        removed: list[_Waiting] = []
        try:
            with self._mutex:
                self._make()
                if not self.is_fit():
                    return False
                room = room_of(self._own)
                if self._is_too_much([staged], room):
                    return False  # even alone
                spare = [one for one in self._waiting if one.key != key]
                while self._is_too_much([staged, *(one.staged for one in self._waiting)], room):
                    # Remove the folders that only other steps can use before those that this step can use.
                    oldest = spare.pop(0) if spare else self._waiting[0]
                    self._waiting.remove(oldest)
                    removed.append(oldest)
                target = self._own / secrets.token_hex(6)
                folder.rename(target)
                self._waiting.append(_Waiting(key, target, staged, time.monotonic()))
            return True
        finally:
            _remove(removed)

    def remove_idle(self, older_than_seconds: float) -> None:
        """Removes the folders that no attempt has taken for this long."""
        now = time.monotonic()
        with self._mutex:
            idle = [one for one in self._waiting if now - one.since >= older_than_seconds]
            self._waiting = [one for one in self._waiting if one not in idle]
        _remove(idle)

    def idle(self) -> IdleFolders:
        """The idle folders now. Never blocks, because the thread that renews leases calls it."""
        waiting = list(self._waiting)
        return IdleFolders(len(waiting), sum(one.staged.size_bytes for one in waiting))

    def is_fit(self) -> bool:
        """Whether folders can be reused on this file system. Raises OSError."""
        if self._is_fit is None:
            self._is_fit = self._max_idle > 0 and can_see_changes(self._parent)
        return self._is_fit

    def _pop(self, key: Hashable) -> _Waiting | None:
        with self._mutex:
            for number in range(len(self._waiting) - 1, -1, -1):
                if self._waiting[number].key == key:
                    return self._waiting.pop(number)
        return None

    def _is_too_much(self, held: list[StagedFolder], room: Room) -> bool:
        inodes = sum(one.files for one in held)
        return (
            len(held) > self._max_idle
            or inodes > _MAX_INODES
            or sum(one.size_bytes for one in held) * SHARE_OF_FREE > room.free_bytes
            or (room.inodes is not None and inodes * SHARE_OF_FREE > room.inodes)
        )

    def _make(self) -> None:
        if self._lock >= 0 and self._own.is_dir():
            return
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._parent.mkdir(exist_ok=True)
        self._own.mkdir(exist_ok=True)
        self._lock = hold_lock(self._own)


def can_see_changes(folder: Path) -> bool:
    """Whether the folder's file system changes a file's stamp at every change of the file. Raises OSError."""
    return file_system_of(folder) in _KNOWN_FILE_SYSTEMS and _shows_mapped_writes(folder)


def wait_past(moment_ns: int) -> bool:
    """Waits (a tick of the kernel's clock) until changed files get a later time than this one; False when that would
    take long, because the clock was set back.
    """
    for _ in range(_MAX_TICKS):
        if time.clock_gettime_ns(_COARSE_CLOCK) > moment_ns:
            return True
        time.sleep(_TICK_SECONDS)
    return False


def _remove(waiting: list[_Waiting]) -> None:
    for one in waiting:
        remove_tree(one.folder)


def _shows_mapped_writes(folder: Path) -> bool:
    """Whether a write through a mapping that was read first changes the file's times."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_PAGE_BYTES))
        file.flush()
        os.utime(file.fileno(), ns=(1, 1))
        before = os.fstat(file.fileno())
        if not wait_past(before.st_ctime_ns):
            return False
        with mmap.mmap(file.fileno(), _PAGE_BYTES) as mapped:
            mapped.read(1)
            mapped[0] = 1
        return whole_stamp_of(before) != whole_stamp_of(os.fstat(file.fileno()))
