"""Files and folders as steps leave them: walked, copied, moved and removed whatever their modes and names."""

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
"""Of a name relative to its tree; the system takes 4,095 bytes, and the tree is moved to a longer place."""

_YOUNGEST_NS = 1_000_000_000

_RIGHTS_OF_OWNER = stat.S_ISUID | stat.S_ISGID

FileStamp = tuple[int, ...]
"""Mode, inode, device, links, owner, group, size, mtime and ctime (ns): every change of a file changes its ctime, but
not twice in one tick of the kernel's clock."""


def walk(root: Path) -> Iterator[Path]:
    """Everything below `root`, without following links; folders that cannot be read are opened up.

    What lies in folders of another user that this one may not read is passed over.
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
    """As `walk`, with each name relative to `root` and its status, and no Path: for folders of many files.

    A folder comes before what is in it, with the mode that it had before it was opened up.
    """
    longest = len(os.fsencode(root)) + 1 + MAX_NAME_BYTES
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        descriptor = _opened(folder)
        if descriptor is None:
            continue
        try:
            # By the descriptor, so that the kernel need not find the folder anew for each status.
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
    """A descriptor of the folder, which gets the rights that it lacks; None for another user's that is closed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        if os.lstat(folder).st_uid != os.geteuid():
            return None
        Path(folder).chmod(0o700)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not status.st_mode & stat.S_IXUSR and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o700)  # one may list it, but not look at what is in it
    return descriptor


def names_in(folder: Path) -> list[str]:
    """What lies in a folder, in order; nothing when it is none or a link to one. One without rights is opened up."""
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
    """Whether a file or folder is another user's and closed to this one, such as what a container left."""
    if status.st_uid == os.geteuid() or stat.S_ISLNK(status.st_mode):
        return False
    needed = os.R_OK | os.X_OK if stat.S_ISDIR(status.st_mode) else os.R_OK
    return not os.access(path, needed, effective_ids=True)


def stamp_of(status: os.stat_result) -> FileStamp | None:
    """None for a folder."""
    return None if stat.S_ISDIR(status.st_mode) else whole_stamp_of(status)


def whole_stamp_of(status: os.stat_result) -> FileStamp:
    """Of a folder too."""
    return (*status[:7], status.st_mtime_ns, status.st_ctime_ns)


def copy_entry(source: Path | str, target: Path | str) -> FileStamp | None:
    """Copies a file, link or folder (without its content); the mark of a file or link, None of a folder."""
    # By descriptors and texts: thousands of small files are copied so.
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
            # Never younger than this: a write in the same tick of the kernel's clock must change the mark.
            written_ns = min(status.st_mtime_ns, time.time_ns() - _YOUNGEST_NS)
            os.utime(writer, ns=(written_ns, written_ns))
            return stamp_of(os.fstat(writer))
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def move_entry(source: Path, destination: Path, root: Path) -> None:
    """Moves a file or link; a link to something inside `root` stays one to it, as a relative link.

    One that was moved stays moved: safe to repeat, after a disk was full. What may pass is waited for.
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
        # Its other name may lie outside, where somebody goes on writing to it. Of another user's, only a copy can lose
        # the right to act as that user.
        _copy_whole(source, destination)
        return
    make_readable(source)
    try:
        source.rename(destination)
    except FileNotFoundError:
        # So answers a request that was sent twice, too.
        if os.path.lexists(source) or not os.path.lexists(destination):
            raise
    except OSError as error:
        if is_passing(error):
            raise  # it may have been moved all the same
        _copy_whole(source, destination)
        with contextlib.suppress(OSError):
            source.unlink()


def make_readable(path: Path) -> None:
    """Gives a file of this user's the right to be read, and takes from it the rights to act as its owner or group.

    Not those of another user's file, or of one that has another name, which may lie outside; their copies have none.
    """
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    wanted = (mode & 0o777 if status.st_nlink == 1 else mode) | stat.S_IRUSR
    if stat.S_ISREG(status.st_mode) and mode != wanted and os.geteuid() in (0, status.st_uid):
        path.chmod(wanted)


def _copy_whole(source: Path, destination: Path) -> None:
    """The file with its times and mode, or nothing: half of it would take the room that somebody else waits for."""
    make_readable(source)
    try:
        copy_file(source, destination)
        destination.chmod(destination.stat().st_mode & 0o777)
    except BaseException:
        with contextlib.suppress(OSError):
            destination.unlink()
        raise


def remove_entry(path: Path) -> None:
    """Removes a file, link or whole folder; nothing happens when it is not there."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        with contextlib.suppress(NotADirectoryError):
            path.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Removes a folder whatever is in it: folders without rights, nesting beyond Python's recursion. Never raises."""
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
