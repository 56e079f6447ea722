"""The pipeline's folder as it is now -> one content-addressed tar in the shared storage.

The tar holds relative names in byte order, no times and no owners, so that equal folders have equal digests.
Workers stage steps from it and never see later edits.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from pathspec import GitIgnoreSpec

from pipeline_queue.contract.errors import SnapshotError, StorageError
from pipeline_queue.contract.storage import Storage, sync_folder

IGNORE_FILE = ".pipelineignore"

ALWAYS_IGNORED = (
    ".git/", ".hg/", ".svn/", "__pycache__/", "*.py[co]", ".venv/", "node_modules/", ".mypy_cache/",
    ".pytest_cache/", ".ruff_cache/", ".hypothesis/", ".tox/", ".ipynb_checkpoints/", "*.egg-info/",
    ".DS_Store", ".env", "pipeline-queue-data/",
)  # fmt: skip

MOST_FILES = 20_000
MOST_BYTES = 512 * 1024 * 1024
_IN_MEMORY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of the folder: its name relative to the folder with `/`, and where it lies."""

    name: str
    path: Path
    kind: str  # "file", "folder" or "link"


@dataclass(frozen=True)
class Snapshot:
    """A folder's content, packed; `digest` is the SHA-256 of the tar, in hexadecimal. A context manager.

    `contents`: every name in it, and a digest of what it is.
    """

    digest: str
    contents: Mapping[str, str]
    files: int
    size_bytes: int
    tar: IO[bytes]

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.tar.close()

    def store(self, storage: Storage) -> None:
        """Puts the tar into the storage unless the same content is there already. Raises StorageError."""
        target = storage.snapshot(self.digest)
        try:
            try:
                os.utime(target)  # in use again: whoever removes unused ones leaves it alone
            except FileNotFoundError:
                _store(self.tar, target)
            except PermissionError:
                pass  # another user's
        except OSError as error:
            raise StorageError(f"the snapshot cannot be written to {target}: {error.strerror}") from error


def take_snapshot(folder: Path, storage_root: Path | None = None) -> Snapshot:
    """Packs the folder; nothing is written outside a temporary file. `storage_root` is left out of it.

    Raises SnapshotError for links that lead outside, special files, unreadable files and folders over the limits.
    """
    buffer = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - Snapshot closes it
    try:
        return _write_tar(folder.resolve(), storage_root.resolve() if storage_root else None, buffer)
    except BaseException:
        buffer.close()
        raise


def entries(folder: Path, storage_root: Path | None = None) -> Iterator[Entry]:
    """Everything of the folder that is not ignored, parents first, in a fixed order."""
    spec = _ignore_spec(tuple(_ignore_lines(folder)))
    pending = [folder]
    while pending:
        current = pending.pop()
        for item in _listed(current):
            path = current / item.name
            name = path.relative_to(folder).as_posix()
            if item.is_symlink():
                if not spec.match_file(name):
                    yield Entry(name, path, "link")
            elif item.is_dir():
                if not spec.match_file(f"{name}/") and path != storage_root and not _is_never_packed(path):
                    yield Entry(name, path, "folder")
                    pending.append(path)
            elif not spec.match_file(name):
                yield Entry(name, path, "file")


@functools.lru_cache(maxsize=16)
def _ignore_spec(lines: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines([*ALWAYS_IGNORED, *lines])


def _write_tar(folder: Path, storage_root: Path | None, buffer: IO[bytes]) -> Snapshot:
    size = 0
    contents: dict[str, str] = {}
    sink = _HashingSink(buffer)
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for entry in _in_order(folder, storage_root):
            info, data = _member(folder, entry)
            contents[entry.name] = _content_digest(info, data)
            tar.addfile(info, io.BytesIO(data))
            size += len(data)
            if size > MOST_BYTES:
                raise _too_large(folder)
    return Snapshot(sink.digest(), contents, len(contents), size, buffer)


def read_contents(tar: Path) -> dict[str, str]:
    """`Snapshot.contents` of a stored one. Raises StorageError."""
    contents: dict[str, str] = {}
    try:
        with tarfile.open(tar, mode="r:") as archive:
            for info in archive:
                file = archive.extractfile(info) if info.isreg() else None
                contents[info.name] = _content_digest(info, file.read() if file else b"")
    except (OSError, tarfile.TarError) as error:
        raise StorageError(f"the snapshot {tar} cannot be read: {error}") from error
    return contents


def _in_order(folder: Path, storage_root: Path | None) -> list[Entry]:
    """All entries by name; a folder with millions of files is refused before it is read to its end."""
    found = list(islice(entries(folder, storage_root), MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise _too_large(folder)
    return sorted(found, key=lambda entry: entry.name.encode(errors="surrogateescape"))


def _too_large(folder: Path) -> SnapshotError:
    return SnapshotError(
        f"{folder}: the pipeline's folder has more than {MOST_FILES:,} files or "
        f"{MOST_BYTES // 1024**2} MiB, and every step gets a copy of it; "
        f"name what steps do not need in {folder / IGNORE_FILE} (written like .gitignore)"
    )


def _member(folder: Path, entry: Entry) -> tuple[tarfile.TarInfo, bytes]:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        raise SnapshotError(f"{entry.path.parent}: the file name {entry.name!r} is not valid UTF-8") from None
    info = tarfile.TarInfo(entry.name)
    if entry.kind == "folder":
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        return info, b""
    if entry.kind == "link":
        info.type, info.linkname = tarfile.SYMTYPE, _target_inside(folder, entry)
        return info, b""
    data, executable = _read_regular(entry)
    info.size, info.mode = len(data), 0o755 if executable else 0o644
    return info, data


def _content_digest(info: tarfile.TarInfo, data: bytes) -> str:
    """Of what a step would find under this name: kind, right to execute, content."""
    kind = b"folder" if info.isdir() else b"link" if info.issym() else b"program" if info.mode & 0o100 else b"file"
    return hashlib.blake2b(b"\0".join((kind, info.linkname.encode(), data)), digest_size=16).hexdigest()


def _read_regular(entry: Entry) -> tuple[bytes, bool]:
    try:
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SnapshotError(f"{entry.path} is not a regular file; name it in {IGNORE_FILE} to leave it out")
            if status.st_size > MOST_BYTES:
                raise SnapshotError(
                    f"{entry.path} is larger than {MOST_BYTES // 1024**2} MiB; name it in {IGNORE_FILE} and "
                    "give steps its path on shared storage as a parameter"
                )
            return file.read(), bool(status.st_mode & stat.S_IXUSR)
    except OSError as error:
        raise SnapshotError(
            f"{entry.path} cannot be read: {error.strerror}; name it in {IGNORE_FILE} to leave it out"
        ) from error


def _target_inside(folder: Path, entry: Entry) -> str:
    """The link's target, relative to the link, when it stays in the folder."""
    target = Path(os.path.normpath(entry.path.parent / entry.path.readlink()))
    resolved = Path(os.path.realpath(entry.path))  # which unlike `resolve` takes a link that leads to itself
    if not target.is_relative_to(folder) or not resolved.is_relative_to(folder):
        raise SnapshotError(
            f"{entry.path} is a link that leads outside the pipeline's folder (to {entry.path.readlink()}); "
            f"name it in {IGNORE_FILE}, or copy what it points to"
        )
    return os.path.relpath(target, entry.path.parent)


def _ignore_lines(folder: Path) -> list[str]:
    try:
        return (folder / IGNORE_FILE).read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{folder / IGNORE_FILE} cannot be read: {error}") from error


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except OSError as error:
        raise SnapshotError(
            f"{folder} cannot be read: {error.strerror}; name it in {IGNORE_FILE} to leave it out"
        ) from error


def _is_never_packed(path: Path) -> bool:
    """A virtual environment, or a data folder of the embedded default, which holds the broker's password."""
    # `os.path`, which unlike `Path.exists` takes a folder that cannot be read.
    return os.path.exists(path / "pyvenv.cfg") or os.path.exists(path / "service.lock")  # noqa: PTH110


def _store(buffer: IO[bytes], target: Path) -> None:
    buffer.seek(0)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
        temporary = Path(file.name)
        try:
            while chunk := buffer.read(1024 * 1024):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.rename(target)
            sync_folder(target.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


class _HashingSink(io.RawIOBase):
    """Writes through and keeps the digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._hash.update(block)
        return self._file.write(block)

    def digest(self) -> str:
        return self._hash.hexdigest()
