"""Creates folders that only this user may write to, and rejects those that another user created beforehand."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from pipeline_queue.contract.errors import StorageError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_private_folder(folder: Path, remedy: str, mode: int = 0o700) -> bool:
    """Creates the folder and its parents unless it exists. Returns whether this call created it.

    Removes other users' write permission, which a permissive umask allowed, from this user's existing folder. Raises
    StorageError with owner, mode and `remedy` when another user owns it, it is no folder, or it cannot be created.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=mode & ~_OTHERS_WRITE)
            made = True
        except FileExistsError:
            made = False
        check_private_folder(folder, remedy)
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be made: {error.strerror}; {remedy}") from error
    return made


def check_private_folder(folder: Path, remedy: str) -> None:
    """Raises StorageError unless this user owns the folder, OSError when its status cannot be read.

    One descriptor serves the check and the change, so both concern the same folder even if the name changes meanwhile.
    """
    link = folder.lstat()
    if stat.S_ISLNK(link.st_mode) and not _is_trusted(link):
        raise StorageError(f"{folder} is a link that {_owner(link)} made; {remedy}")
    if not folder.is_dir():
        raise StorageError(f"{folder} is not a folder; {remedy}")
    _check_owner(folder, folder.stat(), remedy)  # before opening it, which its mode may forbid
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        _check_owner(folder, status, remedy)
        if status.st_mode & _OTHERS_WRITE:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_OTHERS_WRITE)
    finally:
        os.close(descriptor)


def is_own(path: Path) -> bool:
    """Whether this user owns a file or folder, and the link that leads to it."""
    try:
        link, status = path.lstat(), path.stat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and (not stat.S_ISLNK(link.st_mode) or _is_trusted(link))


def read_private_file(path: Path, limit_bytes: int) -> bytes | None:
    """The content of this user's regular file that no other user may write to; None for anything else.

    Links are not followed. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        is_private = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE
        if not stat.S_ISREG(status.st_mode) or not is_private or status.st_size > limit_bytes:
            return None
        return file.read(limit_bytes)


def write_private_file(path: Path, data: bytes) -> None:
    """Writes a file that only this user may read, as a whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _check_owner(folder: Path, status: os.stat_result, remedy: str) -> None:
    if status.st_uid != os.geteuid():
        raise StorageError(
            f"{folder} belongs to {_owner(status)} (mode {stat.S_IMODE(status.st_mode):04o}), not to this user: "
            f"its owner could change what this user's steps do; {remedy}"
        )


def _is_trusted(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _owner(status: os.stat_result) -> str:
    try:
        return f"user {pwd.getpwuid(status.st_uid).pw_name}"
    except KeyError:
        return f"user {status.st_uid}"
