"""Folders that were put back after a step: they wait here for the next attempt, which need not copy the snapshot."""

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
from pipeline_queue.storage.disk import room_of
from pipeline_queue.storage.file_tree import remove_tree, whole_stamp_of
from workers.folder_lock import hold_lock
from workers.mounts import file_system_of
from workers.staged_folder import StagedFolder

SHARE_OF_FREE = 10
"""Waiting folders take at most one of so many parts of what is free, of bytes and of inodes."""
_MAX_INODES = 100_000
"""Of all waiting folders; a worker remembers about 500 bytes of each."""
_KNOWN_FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "overlay"})
"""Local ones whose change times were found to tell every change. Not tmpfs, which notes no write through a mapping that
was read first, nor those of a network, which tell of a change late."""
_SURE_SECONDS = 10.0
"""What has waited longer is looked through before it is used: somebody may have tidied it up."""
_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE, from which the kernel takes the times of files; Python has no name for it."""
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
    """Of one worker, below `parent`; every method may be called from any thread.

    What lies there is known to this object only: the folders of a worker that was killed are removed, never used.
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
        """Moves a folder that waits under this key to `target`; what is staged there, None when there is none."""
        while (found := self._pop(key)) is not None:
            try:
                found.folder.rename(target)
                is_sure = time.monotonic() - found.since <= _SURE_SECONDS or found.staged.is_unchanged(target)
                if is_sure and wait_past(found.staged.newest_ns):
                    return found.staged
            except OSError:
                pass  # somebody has tidied it up
            remove_tree(found.folder)
            remove_tree(target)
        return None

    def put(self, key: Hashable, folder: Path, staged: StagedFolder) -> bool:
        """Takes the folder in, which is as it was staged; False, and it stays where it is, when there is no place.

        Raises OSError.
        """
        with self._mutex:
            self._make()
            if not self.is_fit():
                return False
            room = room_of(self._own)
            spare = [one for one in self._waiting if one.key != key]
            removed = []
            while self._is_too_much(staged, room.free_bytes, room.inodes):
                if not self._waiting:
                    return False
                # Those that other steps may want before those that this one has enough of.
                oldest = spare.pop(0) if spare else self._waiting[0]
                self._waiting.remove(oldest)
                removed.append(oldest)
            target = self._own / secrets.token_hex(6)
            folder.rename(target)
            self._waiting.append(_Waiting(key, target, staged, time.monotonic()))
        _remove(removed)
        return True

    def remove_idle(self, older_than_seconds: float) -> None:
        """Removes what nobody took for so long."""
        now = time.monotonic()
        with self._mutex:
            idle = [one for one in self._waiting if now - one.since >= older_than_seconds]
            self._waiting = [one for one in self._waiting if one not in idle]
        _remove(idle)

    def idle(self) -> IdleFolders:
        """What waits now. Never blocks: the thread that renews leases asks."""
        waiting = list(self._waiting)
        return IdleFolders(len(waiting), sum(one.staged.size_bytes for one in waiting))

    def is_fit(self) -> bool:
        """Whether folders can be used again on this file system. Raises OSError."""
        if self._is_fit is None:
            self._is_fit = self._max_idle > 0 and can_see_changes(self._parent)
        return self._is_fit

    def _pop(self, key: Hashable) -> _Waiting | None:
        with self._mutex:
            for number in range(len(self._waiting) - 1, -1, -1):
                if self._waiting[number].key == key:
                    return self._waiting.pop(number)
        return None

    def _is_too_much(self, staged: StagedFolder, free_bytes: int, free_inodes: int | None) -> bool:
        held = [staged, *(one.staged for one in self._waiting)]
        inodes = sum(one.files for one in held)
        return (
            len(held) > self._max_idle
            or inodes > _MAX_INODES
            or sum(one.size_bytes for one in held) * SHARE_OF_FREE > free_bytes
            or (free_inodes is not None and inodes * SHARE_OF_FREE > free_inodes)
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
    """Whether every change of a file of this folder's file system changes the file's stamp. Raises OSError."""
    return file_system_of(folder) in _KNOWN_FILE_SYSTEMS and _shows_mapped_writes(folder)


def wait_past(moment_ns: int) -> bool:
    """Waits until a change of a file gets a later time than this one, a tick of the kernel's clock; False when that is
    far off, because somebody has set the clock back.
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
    """Whether a write through a mapping that was read before changes the file's times."""
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
