"""Copies files and keeps their holes: copying a sparse file of 1 TB takes only the time and space of its data."""

from __future__ import annotations

import errno
import os
import shutil
from functools import partial
from pathlib import Path

from pipeline_queue.storage.patience import repeat_until_done

_NO_HOLES_HERE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of file systems that cannot report where a file's holes are."""
_BLOCK_BYTES = 512


def copy_file(source: Path | str, destination: Path | str) -> None:
    """Like `shutil.copy2`: copies content, times and mode. Raises OSError."""
    if not _has_holes(Path(source).stat()):
        shutil.copy2(source, destination)
        return
    with Path(source).open("rb", buffering=0) as reader, Path(destination).open("wb", buffering=0) as writer:
        copy_content(reader.fileno(), writer.fileno(), os.fstat(reader.fileno()).st_size)
    shutil.copystat(source, destination)


def copy_tree(source: Path, destination: Path) -> None:
    """Copies a folder of any depth to an unused name: content, times and modes; links stay links.

    Raises OSError, StorageError.
    """
    copied = [(source, destination)]
    for here, there in copied:  # the loop appends to this list
        there.mkdir()
        for entry in repeat_until_done(partial(_entries, here)):
            target = there / entry.name
            if entry.is_symlink():
                target.symlink_to(repeat_until_done(partial(os.readlink, entry.path)))
            elif entry.is_dir():
                copied.append((Path(entry.path), target))
            else:
                repeat_until_done(partial(copy_file, entry.path, target))
    # From the innermost: fill a folder before its mode forbids writing, and do not change its time afterwards.
    for here, there in reversed(copied):
        repeat_until_done(partial(shutil.copystat, here, there))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def copy_content(reader: int, writer: int, size: int) -> None:
    """Copies in the kernel, which shares blocks where the file system can; holes stay holes."""
    if not _has_holes(os.fstat(reader)):
        _copy_range(reader, writer, size)
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(reader, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno in _NO_HOLES_HERE:
                os.lseek(reader, end, os.SEEK_SET)
                os.lseek(writer, end, os.SEEK_SET)
                _copy_range(reader, writer, size - end)
                return
            if error.errno != errno.ENXIO:
                raise
            break  # the rest is a hole
        end = min(os.lseek(reader, start, os.SEEK_HOLE), size)
        os.lseek(reader, start, os.SEEK_SET)
        os.lseek(writer, start, os.SEEK_SET)
        _copy_range(reader, writer, end - start)
    os.ftruncate(writer, size)


def taken_bytes(status: os.stat_result) -> int:
    """The disk space that a file takes: nothing for holes, and at most its size."""
    return min(status.st_blocks * _BLOCK_BYTES, status.st_size)


def _has_holes(status: os.stat_result) -> bool:
    return taken_bytes(status) < status.st_size


def _copy_range(reader: int, writer: int, size: int) -> None:
    """Copies from the current position of both files."""
    left = size
    while left > 0:
        try:
            done = os.copy_file_range(reader, writer, left)
        except OSError:
            done = 0
        done = done or os.sendfile(writer, reader, None, left)
        if done == 0:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        left -= done
