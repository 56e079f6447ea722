"""Disk space: which errors mean a full disk, how much is free, and whether a write succeeds."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.wording import counted, size_text

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_PASSING = frozenset((
    errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EREMOTEIO, errno.ENOLCK, errno.ENODEV,
    errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET,
))  # fmt: skip
"""NFS with `soft`, SMB and FUSE (sshfs: ENOTCONN) return these while the server or the network is down."""
_MIN_BYTES = 256 * 1024
_MIN_INODES = 2


def is_full(error: BaseException | None) -> bool:
    """Whether the error says that a disk or a user's quota is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def is_passing(error: BaseException | None) -> bool:
    """Whether the error is a disk or network fault that may be gone at the next try."""
    return isinstance(error, OSError) and error.errno in _PASSING


@dataclass(frozen=True, slots=True)
class Room:
    """The space that is free for this user; `inodes` is None where the file system does not count them."""

    free_bytes: int
    inodes: int | None

    def is_none(self) -> bool:
        return self.free_bytes < _MIN_BYTES or (self.inodes is not None and self.inodes < _MIN_INODES)

    def __str__(self) -> str:
        inodes = "" if self.inodes is None else f" and {counted(self.inodes, 'inode')}"
        return f"{size_text(self.free_bytes)}{inodes} free"

    def figures(self) -> dict[str, int]:
        """The figures by name, for programs."""
        inodes = {} if self.inodes is None else {"free_inodes": self.inodes}
        return {"free_bytes": self.free_bytes, **inodes}


def room_of(folder: Path) -> Room:
    """Raises OSError."""
    found = os.statvfs(folder)
    return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def try_to_write(folder: Path) -> None:
    """Writes a file as large as the minimum free space, reads it and removes it. Raises OSError."""
    probe = folder / f".probe-{secrets.token_hex(6)}"
    try:
        with probe.open("xb") as file:
            file.write(b"\0" * _MIN_BYTES)
            file.flush()
            os.fsync(file.fileno())
        if probe.stat().st_size != _MIN_BYTES:
            raise OSError(errno.EIO, "a file that was written is shorter than it should be")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
