"""Packs the pipeline's folder as it is now into one content-addressed tar in the shared storage.

The tar has relative names in byte order, no times and no owners, so that equal folders have equal digests.
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
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pathspec import GitIgnoreSpec

from pipeline_queue.contract.errors import SnapshotError, StorageError
from pipeline_queue.contract.wording import counted
from pipeline_queue.storage.run_store import RunStore

IGNORE_FILE = ".pipelineignore"

ALWAYS_IGNORED = (
    ".git/", ".hg/", ".svn/", "__pycache__/", "*.py[co]", ".venv/", "node_modules/", ".mypy_cache/",
    ".pytest_cache/", ".ruff_cache/", ".hypothesis/", ".tox/", ".ipynb_checkpoints/", "*.egg-info/",
    ".DS_Store", ".env", "pipeline-queue-data/",
)  # fmt: skip

MAX_FILES = 20_000
MAX_BYTES = 512 * 1024 * 1024
NOTED_FILES = 1_000
NOTED_BYTES = 50_000_000
"""From this size on, a submission prints how much data every step gets a copy of."""
_IN_MEMORY_BYTES = 16 * 1024 * 1024
_MAX_READS = 3
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the folder: its name relative to the folder, with `/`, and its path."""

    name: str
    path: Path
    kind: str  # "file", "folder" or "link"
    size: int = 0
    """Size of a file in bytes when it was listed."""


@dataclass(frozen=True)
class Snapshot:
    """A folder's packed content; `digest` is the SHA-256 of the tar, in hexadecimal. A context manager.

    `contents` maps every name to a digest of its entry; `files` counts files, links and folders.
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

    def size_note(self) -> str:
        """How much data every step gets a copy of, and how to reduce it; empty for a folder that is fast to copy."""
        if self.files <= NOTED_FILES and self.size_bytes <= NOTED_BYTES:
            return ""
        return (
            f"every step gets a copy of {counted(self.files, 'file')} and folders ({self.size_bytes / 1e6:,.1f} MB) of "
            f"the pipeline's folder, which takes time; name what no step needs in {IGNORE_FILE}, "
            "or what a step needs in its `sources`"
        )

    def store(self, storage: RunStore) -> None:
        """Puts the tar into the storage unless the same content is there already. Raises StorageError."""
        storage.put_snapshot(self.digest, self.tar)


def take_snapshot(folder: Path, storage_root: Path | None = None, links: Container[str] = ()) -> Snapshot:
    """Packs the folder; writes to a temporary file only.

    Leaves out `storage_root` and the names in `links`, which workers create themselves.
    Raises SnapshotError for links that lead outside, special files, unreadable files and folders over the limits. The
    limits are checked against the files' sizes before any file is read.
    """
    folder = folder.resolve()
    found = _in_order(folder, storage_root.resolve() if storage_root else None, links)
    buffer = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - Snapshot closes it
    try:
        return _write_tar(folder, found, buffer)
    except BaseException:
        buffer.close()
        raise


def entries(folder: Path, storage_root: Path | None = None, links: Container[str] = ()) -> Iterator[Entry]:
    """Yields everything in the folder that is not ignored, parents first. Skips entries that vanish meanwhile."""
    spec = _ignore_spec(tuple(_ignore_lines(folder)))
    pending = [folder]
    while pending:
        current = pending.pop()
        for item in _listed(current):
            path = current / item.name
            name = path.relative_to(folder).as_posix()
            if name in links:
                continue
            if item.is_symlink():
                if not spec.match_file(name) and not _always_ignored().match_file(f"{name}/"):
                    yield Entry(name, path, "link")
            elif item.is_dir():
                if not spec.match_file(f"{name}/") and path != storage_root and not _is_never_packed(path):
                    yield Entry(name, path, "folder")
                    pending.append(path)
            elif not spec.match_file(name):
                with suppress(FileNotFoundError):
                    yield Entry(name, path, "file", item.stat(follow_symlinks=False).st_size)


def is_left_out(folder: Path, name: str) -> bool:
    """Whether `take_snapshot` leaves out a path (relative, with `/`): it is ignored or in a virtual environment."""
    try:
        spec = _ignore_spec(tuple(_ignore_lines(folder)))
    except SnapshotError:
        return False
    if name == "." or spec.match_file(name) or spec.match_file(f"{name}/"):
        return name != "."
    inside = [folder / above for above in PurePosixPath(name).parents if above.name] + [folder / name]
    return any(map(_is_never_packed, inside))


@functools.cache
def _always_ignored() -> GitIgnoreSpec:
    """Ignored folders, such as `.venv`. People also create them as links, so links of these names are ignored, too."""
    return GitIgnoreSpec.from_lines(ALWAYS_IGNORED)


@functools.lru_cache(maxsize=16)
def _ignore_spec(lines: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines([*ALWAYS_IGNORED, *lines])


def _write_tar(folder: Path, found: list[Entry], buffer: IO[bytes]) -> Snapshot:
    size = 0
    contents: dict[str, str] = {}
    sink = _HashingSink(buffer)
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for entry in found:
            try:
                info, data = _member(folder, entry)
            except FileNotFoundError:
                continue  # it has vanished since it was listed
            contents[entry.name] = _content_digest(info, data)
            tar.addfile(info, io.BytesIO(data))
            size += len(data)
            if size > MAX_BYTES:  # files have grown since they were listed
                raise _too_large(folder, found)
    return Snapshot(sink.digest(), contents, len(contents), size, buffer)


def read_contents(storage: RunStore, digest: str) -> dict[str, str]:
    """`Snapshot.contents` of a stored snapshot. Raises StorageError."""
    try:
        return storage.read_snapshot(digest, _contents_of)
    except (OSError, tarfile.TarError) as error:
        raise StorageError(f"the snapshot {digest} cannot be read: {error}") from error


def _contents_of(tar: io.BufferedReader) -> dict[str, str]:
    contents: dict[str, str] = {}
    with tarfile.open(fileobj=tar, mode="r:") as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            contents[info.name] = _content_digest(info, file.read() if file else b"")
    return contents


def _in_order(folder: Path, storage_root: Path | None, links: Container[str]) -> list[Entry]:
    """All entries, sorted by name. Rejects a folder as soon as its listing passes the limits, before reading files."""
    found: list[Entry] = []
    size = 0
    for entry in entries(folder, storage_root, links):
        found.append(entry)
        size += entry.size
        if len(found) > MAX_FILES or size > MAX_BYTES:
            raise _too_large(folder, found)
    return sorted(found, key=lambda entry: entry.name.encode(errors="surrogateescape"))


def _too_large(folder: Path, found: list[Entry]) -> SnapshotError:
    """The error for a folder over the limits; `found` has the entries seen until a limit was passed."""
    files, sizes = Counter[str](), Counter[str]()
    for entry in found:
        top = entry.name.partition("/")[0]
        files[top] += 1
        sizes[top] += entry.size
    largest = sizes.most_common(_MAX_NAMED) if sum(sizes.values()) > MAX_BYTES else files.most_common(_MAX_NAMED)
    named = ", ".join(
        f"{top[:80]!a} ({counted(files[top], 'file')}, {sizes[top] / 1024**2:,.0f} MiB)" for top, _ in largest
    )
    return SnapshotError(
        f"{folder}: the pipeline's folder has more than {MAX_FILES:,} files or "
        f"{MAX_BYTES // 1024**2} MiB, and every step gets a copy of it; most of what was counted is {named}; "
        f"name what steps do not need in {folder / IGNORE_FILE} (written like .gitignore), and give steps the path of "
        "data on shared storage as a parameter or by `links`"
    )


def _member(folder: Path, entry: Entry) -> tuple[tarfile.TarInfo, bytes]:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        raise SnapshotError(
            f"{folder}: the file name {os.fsencode(entry.name)!r} is not valid UTF-8; rename it, or leave it out by a "
            f"pattern in {IGNORE_FILE} in which ? or * stands for what is not"
        ) from None
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
    """Digest of what a step would find under this name: kind, permission to execute, content."""
    kind = b"folder" if info.isdir() else b"link" if info.issym() else b"program" if info.mode & 0o100 else b"file"
    return hashlib.blake2b(b"\0".join((kind, info.linkname.encode(), data)), digest_size=16).hexdigest()


def _read_regular(entry: Entry) -> tuple[bytes, bool]:
    """The file's content at one moment, and whether it is executable. Raises FileNotFoundError when it vanished."""
    try:
        # Opening a special file may have side effects: check its kind first.
        kind = _special_kind(entry.path.lstat().st_mode)
        if kind:
            raise SnapshotError(f"{entry.path} is {kind}, no regular file; name it in {IGNORE_FILE} to leave it out")
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            for _ in range(_MAX_READS):
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise SnapshotError(f"{entry.path} is not a regular file; name it in {IGNORE_FILE} to leave it out")
                if status.st_size > MAX_BYTES:
                    raise _file_too_large(entry)
                file.seek(0)
                data = _read_bytes(file, status.st_size)
                if _is_as_before(status, os.fstat(descriptor), len(data)):
                    return data, bool(status.st_mode & stat.S_IXUSR)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SnapshotError(
            f"{entry.path} cannot be read: {error.strerror}; name it in {IGNORE_FILE} to leave it out"
        ) from error
    raise SnapshotError(
        f"{entry.path} changes while it is read; submit again when nothing writes to it, "
        f"or name it in {IGNORE_FILE} to leave it out"
    )


def _read_bytes(file: IO[bytes], size: int) -> bytes:
    """The first `size` bytes, or fewer if the file is shorter: a file that a program appends to never ends."""
    blocks: list[bytes] = []
    while size > 0 and (block := file.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def _is_as_before(before: os.stat_result, after: os.stat_result, read: int) -> bool:
    """Whether the bytes read are the file's content at one moment: it is unchanged, or was only appended to since."""
    return read == before.st_size and (after.st_mtime_ns == before.st_mtime_ns or after.st_size > before.st_size)


def _special_kind(mode: int) -> str:
    """The kind of a special file, in words; empty for a file, folder or link."""
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return kinds.get(stat.S_IFMT(mode), "")


def _file_too_large(entry: Entry) -> SnapshotError:
    return SnapshotError(
        f"{entry.path} is larger than {MAX_BYTES // 1024**2} MiB; name it in {IGNORE_FILE} and "
        "give steps its path on shared storage as a parameter"
    )


def _target_inside(folder: Path, entry: Entry) -> str:
    """The link's target, relative to the link, when it stays in the folder. Raises FileNotFoundError."""
    text = entry.path.readlink()
    target = Path(os.path.normpath(entry.path.parent / text))
    resolved = Path(os.path.realpath(entry.path))  # unlike `resolve`, it accepts a link that leads to itself
    if not target.is_relative_to(folder) or not resolved.is_relative_to(folder):
        raise SnapshotError(
            f"{entry.path} is a link that leads outside the pipeline's folder (to {text}); "
            f"{_leaving_out(folder, entry.name)}, add `links: [{entry.name}]` to the pipeline file to have this link "
            "in every step's folder (for data on storage that all workers see), or copy what it points to"
        )
    return os.path.relpath(target, entry.path.parent)


def _leaving_out(folder: Path, name: str) -> str:
    """Error text: how to leave out a link, also when the ignore file names it as if it were a folder."""
    spec = GitIgnoreSpec.from_lines(_ignore_lines(folder))
    if spec.match_file(f"{name}/") or spec.match_file(f"{name}/x"):
        return (
            f"{IGNORE_FILE} names it as a folder, but it is a link, and a link is no folder: "
            f"write {name} there without the slash to leave it out"
        )
    return f"name it in {IGNORE_FILE} (without a slash at the end) to leave it out"


def _ignore_lines(folder: Path) -> list[str]:
    try:
        return (folder / IGNORE_FILE).read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(f"{folder / IGNORE_FILE} cannot be read: {error}") from error


def _listed(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yields the entries one by one, so that the caller can stop early in a folder of a million files."""
    try:
        with os.scandir(folder) as items:
            yield from items
    except FileNotFoundError:
        return  # it has vanished since it was listed
    except OSError as error:
        raise SnapshotError(
            f"{folder} cannot be read: {error.strerror}; name it in {IGNORE_FILE} to leave it out"
        ) from error


def _is_never_packed(path: Path) -> bool:
    """Whether it is a virtual environment, or a data folder of the embedded service, with the broker's password."""
    # Unlike `Path.exists`, `os.path.exists` accepts a folder that cannot be read.
    return os.path.exists(path / "pyvenv.cfg") or os.path.exists(path / "service.lock")  # noqa: PTH110


class _HashingSink(io.RawIOBase):
    """Passes writes on to a file and computes their digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._hash.update(block)
        return self._file.write(block)

    def digest(self) -> str:
        return self._hash.hexdigest()
