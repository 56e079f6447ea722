"""Single operations on files of the storage, each repeated while it fails with what may pass.

An operation that failed may have happened all the same: a network file system reports an error when the answer was
lost, and a repetition then finds what the first try did (EEXIST of a folder that was made, ENOENT of a file that was
renamed). Each function here says so only of what somebody else did.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pipeline_queue.storage.patience import repeat_until_done

_PART_BYTES = 1024 * 1024

_T = TypeVar("_T")


def read_bytes(path: Path | str) -> bytes | None:
    """The file's content, None when it is not there. Raises OSError, StorageError."""

    try:
        return repeat_until_done(lambda: read_whole(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_whole(path: Path | str) -> bytes:
    """The file's content, read at once. Raises OSError: also for EAGAIN, of which Python's files make an end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _PART_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_end(path: Path, size_bytes: int) -> bytes:
    """The last bytes of a file, at most so many. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size_bytes, max(0, os.fstat(descriptor).st_size - size_bytes))
    finally:
        os.close(descriptor)


class RawReader(io.RawIOBase):
    """A file to read of which every error is raised: also EAGAIN, of which Python's own make an end."""

    _descriptor = -1  # Python also closes one that could not be opened

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return os.readv(self._descriptor, [buffer])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        super().close()


class PatientReader:
    """A file that is read to its end, and on from there when more was written: also after it was renamed."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, StorageError."""
        self._path = path
        self._offset = 0
        self._file = repeat_until_done(lambda: path.open("rb", buffering=0))

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, none at the end. Raises OSError, StorageError."""
        return repeat_until_done(lambda: self._read(size_bytes))

    def __enter__(self) -> PatientReader:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def _read(self, size_bytes: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), size_bytes, self._offset)
        except OSError:
            # The handle may be stale for good, while the file is there.
            with contextlib.suppress(FileNotFoundError):
                self._file = self._path.open("rb", buffering=0)
            raise
        self._offset += len(data)
        return data


def read_awaited(path: Path, action: Callable[[], _T]) -> _T:
    """The result of the action, which reads a file that must be there: repeated while it is not to be seen yet.

    A network file system keeps for some seconds that a file was not there; it looks anew at a folder that is opened.
    Raises FileNotFoundError when it has not appeared, OSError, StorageError.
    """

    def look() -> _T:
        try:
            return action()
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.listdir(path.parent)  # noqa: PTH208 - opened for the sake of opening
            raise

    return repeat_until_done(look, lambda error: isinstance(error, FileNotFoundError))


def names_in(folder: Path | str) -> frozenset[str]:
    """What lies in the folder, nothing when it is not there. Raises OSError, StorageError."""
    try:
        return frozenset(repeat_until_done(lambda: os.listdir(folder)))  # noqa: PTH208 - names, not paths: this is hot
    except FileNotFoundError:
        return frozenset()


def is_there(path: Path) -> bool:
    """Raises OSError, StorageError; `Path.exists` raises nothing since Python 3.14."""
    try:
        repeat_until_done(path.stat)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return True


def rename(source: Path, target: Path) -> None:
    """Renames a file or folder to a name that nothing else is ever given. Raises OSError, StorageError."""

    def once() -> None:
        try:
            source.rename(target)
        except FileNotFoundError:
            if not os.path.lexists(target):
                raise

    repeat_until_done(once)


def remove_file(path: Path) -> None:
    """Nothing happens when it is not there. Raises OSError, StorageError."""
    repeat_until_done(lambda: path.unlink(missing_ok=True))
