"""A step's working directory: staged fresh from the snapshot and the earlier steps, read back afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.records import OutputFile
from pipeline_queue.contract.storage import OUTPUTS, Storage, read_step

_NEVER_PUBLISHED_FOLDERS = frozenset({"__pycache__", ".ipynb_checkpoints"})

Mark = tuple[int, int, int, int]
"""Inode, size, mtime and ctime (ns): what changes when a file is written."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """`staged` maps every name that was put there, relative with `/`, to its mark (None: a folder)."""

    folder: Path
    staged: dict[str, Mark | None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a step left: new or changed files, new folders (`name/`), what it deleted, what cannot be kept."""

    outputs: tuple[OutputFile, ...]
    deleted: tuple[str, ...]
    notes: tuple[str, ...]

    def has(self, name: str) -> bool:
        """Whether a file, link or folder of that name is among the outputs."""
        return any(file.path.rstrip("/") == name or file.path.startswith(f"{name}/") for file in self.outputs)


class Workspaces:
    """Makes working directories below `scratch`, and keeps extracted snapshots there."""

    def __init__(self, scratch: Path, storage: Storage) -> None:
        self._storage = storage
        self._work = private_folder(scratch) / "work"
        self._snapshots = scratch / "snapshots"
        self._work.mkdir(exist_ok=True)
        self._snapshots.mkdir(exist_ok=True)
        self._extracting = Lock()
        self._known: dict[str, tuple[Path, tuple[str, ...]]] = {}

    def stage(self, uid: str, snapshot: str, earlier: Iterable[Path]) -> Workspace:
        """A fresh folder with the snapshot and then what the earlier steps published, in order."""
        folder = self._work / uid
        folder.mkdir()
        staged: dict[str, Mark | None] = {}
        source, names = self._extracted(snapshot)
        for name in names:
            staged[name] = _copy(source / name, folder / name)
        for step in earlier:
            self._apply(step, folder, staged)
        return Workspace(folder, staged)

    def discard(self, uid: str) -> None:
        shutil.rmtree(self._work / uid, ignore_errors=True)

    def _apply(self, step: Path, folder: Path, staged: dict[str, Mark | None]) -> None:
        record = read_step(step)
        if record is None:
            raise StorageError(f"{step} has no manifest; was something deleted from the storage?")
        for name in record.deleted:
            _remove(folder / name)
            staged.pop(name, None)
        for file in record.outputs:
            name = file.path.rstrip("/")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in staged and not file.path.endswith("/"):
                _remove(target)
            staged[name] = _copy(step / OUTPUTS / name, target)

    def _extracted(self, digest: str) -> tuple[Path, tuple[str, ...]]:
        if digest in self._known:
            return self._known[digest]
        with self._extracting:
            folder = self._snapshots / digest
            if not folder.is_dir():
                self._extract(digest, folder)
            names = tuple(sorted((path.relative_to(folder).as_posix() for path in _walk(folder)), key=str.encode))
            self._known[digest] = (folder, names)
            return self._known[digest]

    def _extract(self, digest: str, folder: Path) -> None:
        archive = self._storage.snapshot(digest)
        temporary = Path(tempfile.mkdtemp(dir=self._snapshots, prefix="."))
        try:
            with archive.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise StorageError(f"{archive} is damaged: its content is not what its name says")
                file.seek(0)
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    for member in tar:
                        _extract_member(tar, member, temporary)
            temporary.rename(folder)
        except FileNotFoundError as error:
            raise StorageError(f"the snapshot {archive} is not there: is this the storage of the submitter?") from error
        except OSError:
            # Another worker on this machine may have been first; its folder is as good.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def find_outputs(workspace: Workspace, declared: tuple[str, ...]) -> Found:
    """What is new or changed in the folder. Bytecode caches are left out unless declared.

    Links that lead outside and special files cannot be published: they are named in `notes`.
    """
    outputs: list[OutputFile] = []
    notes: list[str] = []
    replaced: list[str] = []
    seen: set[str] = set()
    root = workspace.folder
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        seen.add(name)
        status = path.lstat()
        if name in workspace.staged and workspace.staged[name] == _mark(status):
            continue
        if stat.S_ISDIR(status.st_mode):
            if name not in workspace.staged and not any(path.iterdir()):
                outputs.append(OutputFile(path=f"{name}/", size=None))
        elif _is_junk(name) and name not in declared:
            continue
        elif stat.S_ISREG(status.st_mode):
            outputs.append(OutputFile(path=name, size=status.st_size))
        elif stat.S_ISLNK(status.st_mode) and _stays_inside(path, root):
            outputs.append(OutputFile(path=name, size=None))
        else:
            notes.append(f"{name} is a link that leads outside or a special file, and was not published")
        if stat.S_ISDIR(status.st_mode) and workspace.staged.get(name) is not None:
            replaced.append(name)
    deleted = tuple(sorted([*replaced, *(name for name in workspace.staged if name not in seen)]))
    return Found(tuple(sorted(outputs, key=lambda file: file.path)), deleted, tuple(notes))


def move_outputs(workspace: Workspace, found: Found, target: Path) -> None:
    """Moves what was found below `target`, which is created."""
    target.mkdir()
    made: set[Path] = {target}
    for file in found.outputs:
        destination = target / file.path
        parent = destination if file.path.endswith("/") else destination.parent
        if parent not in made:
            parent.mkdir(parents=True, exist_ok=True)
            made.add(parent)
        if not file.path.endswith("/"):
            _move(workspace.folder / file.path, destination, workspace.folder)


def private_folder(folder: Path) -> Path:
    """The folder, made for this user alone. Raises StorageError when it is somebody else's."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
    except OSError as error:
        raise StorageError(f"the scratch folder {folder} cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StorageError(f"{folder} is not a folder of this user; set PIPELINE_QUEUE_SCRATCH to one that is")
    return folder


def _walk(root: Path) -> Iterator[Path]:
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as items:
            for item in items:
                path = Path(item.path)
                yield path
                if item.is_dir(follow_symlinks=False):
                    pending.append(path)


def _copy(source: Path, target: Path) -> Mark | None:
    """Copies a file, link or folder (without its content); the mark of a file or link, None of a folder."""
    status = source.lstat()
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(exist_ok=True)
        return None
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(source.readlink())
        return _mark(target.lstat())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with source.open("rb", buffering=0) as reader:
        writer = os.open(target, flags, stat.S_IMODE(status.st_mode) | stat.S_IWUSR)
        try:
            _copy_content(reader.fileno(), writer, status.st_size)
            return _mark(os.fstat(writer))
        finally:
            os.close(writer)


def _copy_content(reader: int, writer: int, size: int) -> None:
    """In the kernel, which shares the blocks on file systems that can."""
    left = size
    while left > 0:
        try:
            done = os.copy_file_range(reader, writer, left)
        except OSError:
            done = os.sendfile(writer, reader, None, left)
        if done == 0:
            return
        left -= done


def _mark(status: os.stat_result) -> Mark | None:
    if stat.S_ISDIR(status.st_mode):
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    return any(part in _NEVER_PUBLISHED_FOLDERS for part in parts[:-1])


def _stays_inside(link: Path, root: Path) -> bool:
    return link.resolve().is_relative_to(root.resolve())


def _move(source: Path, destination: Path, root: Path) -> None:
    if source.is_symlink():
        target = Path(os.path.normpath(source.parent / source.readlink()))
        destination.symlink_to(os.path.relpath(target, source.parent) if target.is_relative_to(root) else target)
        return
    try:
        source.rename(destination)
    except OSError:
        shutil.copy2(source, destination)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder / member.name
    if member.name.startswith("/") or ".." in Path(member.name).parts:
        raise StorageError(f"the snapshot holds the name {member.name!r}, which leads outside")
    if member.isdir():
        target.mkdir()
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.isreg():
        content = tar.extractfile(member)
        assert content is not None
        with content, target.open("xb") as file:
            shutil.copyfileobj(content, file)
        target.chmod(member.mode & 0o777)
