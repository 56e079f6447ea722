"""Walks, copies, moves and removes the files and folders that steps leave, whatever their modes and names."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline_queue.storage.disk import is_passing
from pipeline_queue.storage.patience import repeat_until_done
from pipeline_queue.storage.sparse_files import copy_content, copy_file

MAX_NAME_BYTES = 3_000
"""The limit of a name relative to its tree. The system allows paths of 4,095 bytes; the tree moves to a longer path."""

_YOUNGEST_NS = 1_000_000_000

_RIGHTS_OF_OWNER = stat.S_ISUID | stat.S_ISGID

FileStamp = tuple[int, ...]
"""Mode, inode, device, links, owner, group, size, mtime and ctime (ns). Every change of a file changes its ctime, but
two changes within one tick of the kernel's clock get the same ctime."""


def walk(root: Path) -> Iterator[Path]:
    """Yields everything below `root`, without following links. Makes this user's unreadable folders readable.

    Skips the content of another user's folders that this user may not read.
    """
    longest = len(os.fsencode(root)) + 1 + MAX_NAME_BYTES
    pending = [root]
    while pending:
        for item in _listed(pending.pop()):
            path = Path(item.path)
            yield path
            if item.is_dir(follow_symlinks=False) and len(os.fsencode(item.path)) <= longest:
                pending.append(path)


def scan(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Like `walk`, but yields each name relative to `root` and its status, no Path: for folders with many files.

    A folder comes before its content, with the mode that it had before `scan` made it readable.
    """
    longest = len(os.fsencode(root)) + 1 + MAX_NAME_BYTES
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        descriptor = _opened(folder)
        if descriptor is None:
            continue
        try:
            # Scan the descriptor, so that the kernel does not resolve the folder again for each status.
            with os.scandir(descriptor) as items:
                for item in items:
                    name = prefix + item.name
                    status = item.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        path = f"{folder}/{item.name}"
                        if len(os.fsencode(path)) <= longest:
                            pending.append((path, f"{name}/"))
                    yield name, status
        finally:
            os.close(descriptor)


def _opened(folder: str) -> int | None:
    """Opens the folder and adds missing permissions; None for another user's folder that this user may not read."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        if os.lstat(folder).st_uid != os.geteuid():
            return None
        Path(folder).chmod(0o700)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not status.st_mode & stat.S_IXUSR and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o700)  # its names can be listed, but their status cannot be read
    return descriptor


def names_in(folder: Path) -> list[str]:
    """The sorted names in a folder, none for a link or anything else. Makes an unreadable folder readable."""
    try:
        status = folder.lstat()
    except OSError:
        return []
    if not stat.S_ISDIR(status.st_mode):
        return []
    if status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
    return sorted(item.name for item in _listed(folder))


def is_closed(path: Path, status: os.stat_result) -> bool:
    """Whether another user owns the file or folder and this user may not read it, as with a container's files."""
    if status.st_uid == os.geteuid() or stat.S_ISLNK(status.st_mode):
        return False
    needed = os.R_OK | os.X_OK if stat.S_ISDIR(status.st_mode) else os.R_OK
    return not os.access(path, needed, effective_ids=True)


def stamp_of(status: os.stat_result) -> FileStamp | None:
    """The stamp of a file or link, None for a folder."""
    return None if stat.S_ISDIR(status.st_mode) else whole_stamp_of(status)


def whole_stamp_of(status: os.stat_result) -> FileStamp:
    """The stamp of a file, link or folder."""
    return (*status[:7], status.st_mtime_ns, status.st_ctime_ns)


def copy_entry(source: Path | str, target: Path | str) -> FileStamp | None:
    """Copies a file, link or folder (without its content). Returns the stamp of a file or link, None for a folder."""
    # Uses descriptors and strings for speed: this copies thousands of small files.
    status = os.lstat(source)
    if stat.S_ISDIR(status.st_mode):
        Path(target).mkdir(exist_ok=True)
        return None
    if stat.S_ISLNK(status.st_mode):
        Path(target).symlink_to(Path(source).readlink())
        return stamp_of(os.lstat(target))
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe would never end.
        raise OSError(errno.EINVAL, "neither a file, a folder nor a link", str(source))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(target, flags, (status.st_mode & 0o777) | stat.S_IWUSR)
        try:
            copy_content(reader, writer, status.st_size)
            # Set the time back: even a write in the same tick of the kernel's clock must change the stamp.
            written_ns = min(status.st_mtime_ns, time.time_ns() - _YOUNGEST_NS)
            os.utime(writer, ns=(written_ns, written_ns))
            return stamp_of(os.fstat(writer))
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def move_entry(source: Path, destination: Path, root: Path) -> None:
    """Moves a file or link. A link to something inside `root` becomes a relative link to the same target.

    Safe to repeat, for example after a full disk: an entry that was moved stays moved. Waits out temporary errors.
    """
    repeat_until_done(lambda: _move_entry(source, destination, root))


def _move_entry(source: Path, destination: Path, root: Path) -> None:
    try:
        status = source.lstat()
    except FileNotFoundError:
        if os.path.lexists(destination):
            return
        raise
    if stat.S_ISLNK(status.st_mode):
        target = Path(os.path.normpath(source.parent / source.readlink()))
        with contextlib.suppress(FileExistsError):
            destination.symlink_to(os.path.relpath(target, source.parent) if target.is_relative_to(root) else target)
        return
    is_anothers_with_rights = status.st_uid != os.geteuid() and status.st_mode & _RIGHTS_OF_OWNER
    if status.st_nlink > 1 or is_anothers_with_rights:
        # Another hard link may be outside `root`, and a program may still write through it. If another user owns the
        # file, only a copy can drop its setuid and setgid bits.
        _copy_whole(source, destination)
        return
    make_readable(source)
    try:
        source.rename(destination)
    except FileNotFoundError:
        # A request that was sent twice gets the same error.
        if os.path.lexists(source) or not os.path.lexists(destination):
            raise
    except OSError as error:
        if is_passing(error):
            raise  # the move may have happened despite the error
        _copy_whole(source, destination)
        with contextlib.suppress(OSError):
            source.unlink()


def make_readable(path: Path) -> None:
    """Makes this user's file readable, and removes its setuid and setgid bits.

    Leaves another user's file alone, and a file with a second hard link, which may be outside; their copies lack these
    bits.
    """
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    wanted = (mode & 0o777 if status.st_nlink == 1 else mode) | stat.S_IRUSR
    if stat.S_ISREG(status.st_mode) and mode != wanted and os.geteuid() in (0, status.st_uid):
        path.chmod(wanted)


def _copy_whole(source: Path, destination: Path) -> None:
    """Copies the file with its times and mode, or removes the partial copy, which would take space others wait for."""
    make_readable(source)
    try:
        copy_file(source, destination)
        destination.chmod(destination.stat().st_mode & 0o777)
    except BaseException:
        with contextlib.suppress(OSError):
            destination.unlink()
        raise


def has_link_above(root: Path, name: str) -> bool:
    """Whether a link is among the folders between `root` and the entry `name`, so that it may be outside `root`."""
    parts = name.split("/")
    return any(root.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts)))


def remove_entry(path: Path) -> None:
    """Removes a file, link or whole folder; does nothing when it does not exist."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        with contextlib.suppress(NotADirectoryError):
            path.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Removes any folder, even with unreadable folders or nesting beyond Python's recursion limit. Never raises."""
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if not os.path.lexists(folder):
        return
    _open_up(folder)
    with contextlib.suppress(OSError):
        command = ["rm", "-rf", "--", str(folder)]
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except PermissionError:
        if folder.lstat().st_uid != os.geteuid():
            return []
        folder.chmod(0o700)
        with os.scandir(folder) as items:
            return list(items)


def _open_up(folder: Path) -> None:
    pending = [folder]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):
            current.chmod(0o700)
            with os.scandir(current) as items:
                pending.extend(Path(item.path) for item in items if item.is_dir(follow_symlinks=False))
