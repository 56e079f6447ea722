"""Restores a step's folder to its staged state after a step: removes or copies again only what changed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_queue.storage.file_tree import (
    FileStamp,
    copy_entry,
    has_link_above,
    remove_entry,
    scan,
    stamp_of,
    whole_stamp_of,
)
from workers.mounts import holds_mount
from workers.outputs import Changes

_MAX_FOLDER_BYTES = 4 * 2**20
"""Limit for the size of the directory itself, which never shrinks on ext4."""
_GET_FLAGS = 0x80086601
"""FS_IOC_GETFLAGS; a C long, though the kernel writes an int."""
_FLAGS_OF_USERS = 0x000380FF
"""FS_FL_USER_MODIFIABLE: the flags that `chattr` can set, without those that the file system sets itself."""


@dataclass(frozen=True, slots=True)
class FolderState:
    """The properties of a folder, apart from its content."""

    mode: int
    owner: int
    group: int
    mtime_ns: int
    attributes: tuple[tuple[str, bytes], ...]
    flags: int


@dataclass(frozen=True, slots=True)
class StagedFolder:
    """What was staged from the snapshot `source` and by `links`, before any outputs of earlier steps.

    `stamps` maps every name to its stamp (None: a folder), `folders` maps the names of folders to theirs. `plain` is
    the state of every folder right after staging, except for its time. `newest_ns`: before the kernel's clock passes
    this time, a change may leave a stamp as it is.
    """

    source: Path
    links: Mapping[str, str]
    stamps: Mapping[str, FileStamp | None]
    folders: Mapping[str, FileStamp]
    plain: FolderState
    newest_ns: int
    size_bytes: int

    @property
    def files(self) -> int:
        """The number of inodes it takes."""
        return len(self.stamps) + 1

    @classmethod
    def of(
        cls, folder: Path, source: Path, links: Mapping[str, str], stamps: Mapping[str, FileStamp | None]
    ) -> StagedFolder:
        """Describes a folder that was just staged. Raises OSError."""
        folders = {name: whole_stamp_of(os.lstat(folder / name)) for name, one in stamps.items() if one is None}
        newest_ns = max((one[-1] for one in (*stamps.values(), *folders.values()) if one is not None), default=0)
        size_bytes = sum(one[6] for one in stamps.values() if one is not None)
        return cls(source, links, stamps, folders, _state_of(folder), newest_ns, size_bytes)

    def is_unchanged(self, folder: Path) -> bool:
        """Whether the whole folder is still in its staged state. Raises OSError."""
        seen = 0
        for name, status in scan(folder):
            known = self.stamps.get(name)
            if (self.folders.get(name) if known is None else known) != whole_stamp_of(status):
                return False
            seen += 1
        return seen == len(self.stamps)

    def put_back(self, folder: Path, changes: Changes, also: Iterable[str]) -> StagedFolder:
        """Restores the staged state after a step made `changes`; names in `also` were changed before the step started.

        After an OSError the folder is unusable.
        """
        if holds_mount(folder):
            raise OSError(errno.EBUSY, "something is mounted in it", str(folder))
        for name in (*changes.folders, ""):
            # Restore the mode first, so that the folder's content can be removed.
            (folder / name).chmod(self._mode_of(name))
        # A folder sorts before its content, so whatever replaced a folder is removed before any work below it.
        wrong = sorted({*changes.names, *changes.deleted, *also})
        stamps, folders = dict(self.stamps), dict(self.folders)
        # Everything wrong is removed before anything is restored: below a restored link lie files that are not ours.
        for name in wrong:
            self._remove_entry(folder, name)
        for name in wrong:
            self._restore_entry(folder, name, stamps)
        newest = [self.newest_ns, *(one[-1] for name in wrong if (one := stamps.get(name)) is not None)]
        touched = {*wrong, *changes.folders, *(name.rpartition("/")[0] for name in wrong)}
        self._put_back_state(folder, "")
        for name in touched & folders.keys():
            folders[name] = self._put_back_state(folder, name)
            newest.append(folders[name][-1])
        return replace(self, stamps=stamps, folders=folders, newest_ns=max(newest))

    def _remove_entry(self, folder: Path, name: str) -> None:
        _check_no_link_above(folder, name)
        path = folder / name
        if self._is_staged_folder(name) and path.is_dir() and not path.is_symlink():
            return  # `wrong` names its changed content, too
        remove_entry(path)
        if os.path.lexists(path):
            raise OSError(errno.ENOTEMPTY, "cannot be removed", str(path))

    def _restore_entry(self, folder: Path, name: str, stamps: dict[str, FileStamp | None]) -> None:
        if name not in self.stamps:
            return
        _check_no_link_above(folder, name)
        path = folder / name
        if name in self.links:
            path.symlink_to(self.links[name])
            stamps[name] = stamp_of(path.lstat())
        elif self._is_staged_folder(name):
            path.mkdir(exist_ok=True)
        else:
            stamps[name] = copy_entry(self.source / name, path)

    def _is_staged_folder(self, name: str) -> bool:
        return name in self.stamps and self.stamps[name] is None

    def _put_back_state(self, folder: Path, name: str) -> FileStamp:
        """Restores a folder's mode and time. Raises OSError for other changes, which it cannot restore reliably."""
        path = folder / name
        mode = self._mode_of(name)
        status = path.lstat()
        if stat.S_IMODE(status.st_mode) != mode:
            path.chmod(mode)
        state = _state_of(path)
        if status.st_size > _MAX_FOLDER_BYTES:
            raise OSError(errno.EFBIG, "held so many names that listing it stays slow", str(path))
        if replace(state, mtime_ns=self.plain.mtime_ns, mode=self.plain.mode) != self.plain:
            raise OSError(errno.EINVAL, "not the folder that was staged", str(path))
        mtime_ns = self.folders[name][-2] if name else self.plain.mtime_ns
        os.utime(path, ns=(mtime_ns, mtime_ns))
        return whole_stamp_of(path.lstat())

    def _mode_of(self, name: str) -> int:
        return stat.S_IMODE(self.folders[name][0] if name else self.plain.mode)


def _check_no_link_above(folder: Path, name: str) -> None:
    """Raises OSError when a link is among the folders above `name` in `folder`: beyond it are other people's files."""
    if has_link_above(folder, name):
        raise OSError(errno.ELOOP, "is behind a link in the place of a folder", name)


def _state_of(folder: Path) -> FolderState:
    """Raises OSError when it is no folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        attributes: tuple[tuple[str, bytes], ...] = ()
        with suppress(OSError):  # the file system does not support them
            names = sorted(os.listxattr(descriptor))
            attributes = tuple((name, os.getxattr(descriptor, name)) for name in names)
        flags = 0
        with suppress(OSError):  # likewise
            flags = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))[:4], "little") & _FLAGS_OF_USERS
        return FolderState(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, attributes, flags)
    finally:
        os.close(descriptor)
