"""Single operations on the storage's files, each retried while its error may be temporary.

An operation may have succeeded despite an error: a network file system reports an error when the reply was lost, and
the retry then meets the result of the first try (EEXIST for a folder that it created, ENOENT for a file that it
renamed). The functions here raise such an error only when another process caused it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from pipeline_queue.storage.patience import repeat_until_done

_PART_BYTES = 1024 * 1024

_T = TypeVar("_T")


def read_bytes(path: Path | str) -> bytes | None:
    """The file's content, None when it does not exist. Raises OSError, StorageError."""

    try:
        return repeat_until_done(lambda: read_whole(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_whole(path: Path | str) -> bytes:
    """The file's whole content. Raises OSError, also for EAGAIN, which Python's file objects treat as end of file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _PART_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def read_end(path: Path, size_bytes: int) -> bytes:
    """The last bytes of a file, at most `size_bytes`. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size_bytes, max(0, os.fstat(descriptor).st_size - size_bytes))
    finally:
        os.close(descriptor)


def size_of(path: Path) -> int | None:
    """The file's size, None when it does not exist. Raises OSError, StorageError."""
    try:
        return repeat_until_done(lambda: path.stat().st_size)
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_below(root: Path, path: Path) -> tuple[IO[bytes], int]:
    """Opens a regular file; with its size. Raises FileNotFoundError for anything else, and for what lies outside."""

    def opened() -> tuple[IO[bytes], int]:
        # Resolved before it is opened, and opened without waiting: a pipe in its place would never answer.
        real = _resolved(path)
        if not real.is_relative_to(root.resolve(strict=True)):
            raise FileNotFoundError(errno.ENOENT, "it leads outside", str(path))
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "it is no file", str(path))
        return os.fdopen(descriptor, "rb"), status.st_size

    return repeat_until_done(opened)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (RuntimeError, OSError) as error:  # RuntimeError: a link to itself, before Python 3.13
        if isinstance(error, OSError) and error.errno != errno.ELOOP:
            raise
        raise FileNotFoundError(errno.ENOENT, "a link that leads nowhere", str(path)) from error


class RawReader(io.RawIOBase):
    """A file reader that raises every error, also EAGAIN, which Python's own file objects treat as end of file."""

    _descriptor = -1  # Python also closes a reader whose file could not be opened

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
    """Reads a file to its end, then on as more is written, even after the file was renamed."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, StorageError."""
        self._path = path
        self._offset = 0
        self._file = repeat_until_done(lambda: path.open("rb", buffering=0))

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, empty at the end. Raises OSError, StorageError."""
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
            # The handle may be stale forever although the file exists.
            with contextlib.suppress(FileNotFoundError):
                self._file = self._path.open("rb", buffering=0)
            raise
        self._offset += len(data)
        return data


def read_awaited(path: Path, action: Callable[[], _T]) -> _T:
    """The result of the action, which reads a file that must exist. Repeats it while the file is not visible yet.

    A network file system caches for some seconds that a file does not exist; opening the folder refreshes that cache.
    Raises FileNotFoundError when the file does not appear, OSError, StorageError.
    """

    def look() -> _T:
        try:
            return action()
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.listdir(path.parent)  # noqa: PTH208 - only opening the folder matters
            raise

    return repeat_until_done(look, lambda error: isinstance(error, FileNotFoundError))


def names_in(folder: Path | str) -> frozenset[str]:
    """The names in the folder, none when it does not exist. Raises OSError, StorageError."""
    try:
        return frozenset(repeat_until_done(lambda: os.listdir(folder)))  # noqa: PTH208 - names, not paths: this is hot
    except FileNotFoundError:
        return frozenset()


def is_there(path: Path) -> bool:
    """Whether the path exists. Raises OSError, StorageError, unlike `Path.exists` since Python 3.14."""
    try:
        repeat_until_done(path.stat)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return True


def rename(source: Path, target: Path) -> None:
    """Renames a file or folder to a name that is used for nothing else. Raises OSError, StorageError."""

    def once() -> None:
        try:
            source.rename(target)
        except FileNotFoundError:
            if not os.path.lexists(target):
                raise

    repeat_until_done(once)


def remove_file(path: Path) -> None:
    """Removes a file; does nothing when it does not exist. Raises OSError, StorageError."""
    repeat_until_done(lambda: path.unlink(missing_ok=True))
