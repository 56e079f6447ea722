"""Atomic writes: each happens as a whole or not at all, even with concurrent writers and when a process dies."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from pathlib import Path
from typing import IO

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.storage.access import give_access, inherit_access
from pipeline_queue.storage.files import read_whole, remove_file
from pipeline_queue.storage.patience import repeat_until_done

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def create_exclusive(path: Path, data: bytes, durable: bool = False, within: Path | None = None) -> bool:
    """Writes a new file as a whole or not at all; False when the name is taken. Raises OSError.

    `within`: a folder on the same file system, which must still exist under this name at the moment of the write.
    """
    temporary = _write_beside(within / path.name if within else path, data, durable)
    try:
        is_new = repeat_until_done(lambda: _link_exclusive(temporary, path))
    except OSError as error:
        # Some network file systems have no hard links: still exclusive, but a reader may see a half-written file.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        return _create_in_place(path, data)
    finally:
        _remove_temporary(temporary)
    if is_new and durable:
        sync_folder(path.parent)
    return is_new


def _link_exclusive(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # A network file system that received our request twice may report our own link as existing.
        return temporary.samefile(path)
    return True


def replace_file(path: Path, data: bytes) -> None:
    """Replaces the file as a whole or leaves it unchanged; a reader never sees half of it. Raises OSError."""
    temporary = _write_beside(path, data, durable=False)

    def replace() -> None:
        try:
            temporary.replace(path)
        except FileNotFoundError:
            # An earlier try may have succeeded although it reported an error.
            if read_whole(path) != data:
                raise

    try:
        repeat_until_done(replace)
    except BaseException:
        _remove_temporary(temporary)
        raise


def make_link(link: Path, target: str) -> None:
    """Creates a symbolic link. Raises FileExistsError when another process has created it, OSError."""

    def once() -> None:
        try:
            link.symlink_to(target, target_is_directory=True)
        except FileExistsError:
            if not link.is_symlink() or os.fspath(link.readlink()) != target:
                raise

    repeat_until_done(once)


def sync_folder(folder: Path) -> None:
    """Flushes a folder to disk, so that the names in it are durable."""
    repeat_until_done(lambda: _sync_folder(folder))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_beside(path: Path, data: bytes, durable: bool) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")

    def write() -> None:
        descriptor = _open_new(temporary)
        try:
            give_access(descriptor, path.parent.stat())
            _write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    try:
        repeat_until_done(write)
    except BaseException:
        _remove_temporary(temporary)
        raise
    return temporary


def _open_new(path: Path) -> int:
    """Opens a new file whose name only we use: an existing one comes from a try that reported an error."""
    try:
        return os.open(path, _NEW_FILE, 0o666)
    except FileExistsError:
        path.unlink()
        return os.open(path, _NEW_FILE, 0o666)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _remove_temporary(path: Path) -> None:
    """Never raises: a leftover temporary file does no harm."""
    with contextlib.suppress(OSError, StorageError):
        remove_file(path)


def _create_in_place(path: Path, data: bytes) -> bool:
    is_repeated = False

    def create() -> bool:
        nonlocal is_repeated
        try:
            with path.open("xb") as file:
                try:
                    give_access(file.fileno(), path.parent.stat())
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise
        except FileExistsError:
            return is_repeated and read_whole(path) == data
        finally:
            is_repeated = True
        return True

    return repeat_until_done(create)


def put_file(buffer: IO[bytes], target: Path) -> None:
    """Writes a large file durably and as a whole, and replaces an existing one. Raises OSError."""
    buffer.seek(0)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
        temporary = Path(file.name)
        try:
            while chunk := buffer.read(1024 * 1024):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            inherit_access(temporary)
            temporary.rename(target)
            sync_folder(target.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
