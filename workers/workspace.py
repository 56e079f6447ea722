"""A step's working directory: staged fresh from the snapshot and the earlier steps, removed afterwards."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import TypeVar

from pipeline_queue.contract.errors import StorageAwayError, StorageError
from pipeline_queue.contract.idle_folders import IdleFolders
from pipeline_queue.contract.records import OutputFile
from pipeline_queue.contract.wording import counted
from pipeline_queue.model.pipeline import Step
from pipeline_queue.planning.inputs import select_sources
from pipeline_queue.storage.disk import is_passing
from pipeline_queue.storage.file_tree import (
    FileStamp,
    copy_entry,
    has_link_above,
    names_in,
    remove_entry,
    remove_tree,
    stamp_of,
    walk,
)
from pipeline_queue.storage.run_store import RunStore, StoredStep
from workers.folder_lock import hold_lock, if_free
from workers.folder_pool import FolderPool, wait_past
from workers.outputs import WITHIN, Changes, Workspace, sha256_of
from workers.staged_folder import StagedFolder

logger = logging.getLogger(__name__)

_YOUNG_SECONDS = 60.0
_IDLE_SECONDS = 600.0
"""So long a folder waits for the next attempt."""
_UNUSED_SECONDS = 7 * 24 * 3600.0

_MAX_KEPT = 64
_ABSENT = object()

_Staged = dict[str, FileStamp | None]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class DamagedError(StorageError):
    """What lies on the storage is not what was put there: of no use to any worker."""


@dataclass(slots=True)
class _Given:
    """A folder that an attempt has: what was staged of the snapshot, where that is to be used again, and all that was.

    `changes` are known once the step's processes are dead.
    """

    key: Hashable
    workspace: Workspace
    staged: StagedFolder
    changes: Changes | None = None

    def applied(self) -> list[str]:
        """The names that earlier steps wrote or deleted."""
        before, now = self.staged.stamps, self.workspace.staged
        return [
            *(name for name, stamp in before.items() if now.get(name, _ABSENT) is not stamp),
            *(name for name in now if name not in before),
        ]


class Workspaces:
    """Makes working directories below `scratch`, and keeps extracted snapshots there.

    A step's folder lies in folders of its attempt alone, so that `..` leads to nothing of another run. The outermost is
    locked while its worker lives: what a killed worker left has no lock. The step's own folder may have been that of
    another attempt, put back as it was staged.
    """

    def __init__(self, scratch: Path, storage: RunStore, max_idle_folders: int = 0) -> None:
        """Uses at most `max_idle_folders` folders again, none by default."""
        self._storage = storage
        # Resolved, so that an absolute link which a step makes is seen to stay in its folder.
        self._scratch = private_folder(scratch).resolve()
        self._work = self._scratch / "work"
        self._snapshots = self._scratch / "snapshots"
        self._idle = self._scratch / "pool"
        self._make()
        self._pool = FolderPool(self._idle, max_idle_folders)
        self._given: dict[str, _Given] = {}
        self._extracting = Lock()
        self._known: dict[str, tuple[Path, tuple[str, ...]]] = {}
        self._selected: dict[tuple[object, ...], tuple[str, ...]] = {}
        self._locks: dict[str, int] = {}

    def stage(
        self,
        uid: str,
        snapshot: str,
        earlier: Iterable[StoredStep],
        step: Step | None = None,
        links: Mapping[str, str] | None = None,
    ) -> Workspace:
        """A fresh folder with the snapshot (the step's `sources` of it), the pipeline's `links` and then what the
        earlier steps published."""
        outermost = self._work / uid
        try:
            outermost.mkdir()
        except FileNotFoundError:
            # Whoever cleans the system's temporary folder has removed it, while this worker had nothing to do.
            self.make_again()
            outermost.mkdir()
        self._locks[uid] = hold_lock(outermost)
        folder = outermost
        for name in WITHIN[:-1]:
            folder /= name
            folder.mkdir()
        folder /= WITHIN[-1]
        sources = (step.sources, step.argv) if step is not None and step.sources else None
        key = (snapshot, sources, tuple((links or {}).items()))
        reused = self._pool.take(key, folder)
        if reused is not None and not reused.source.is_dir():
            self._extracted_anew(snapshot)  # to put the folder back from
        staged = dict(reused.stamps) if reused is not None else self._copy(folder, snapshot, step, links or {})
        first = reused or self._reusable(folder, snapshot, links or {}, staged)
        workspace = Workspace(folder, staged, first.folders if first else {})
        if first is not None:
            self._given[uid] = _Given(key, workspace, first)
        for published in earlier:
            _apply(published, folder, staged)
        return workspace

    def _copy(self, folder: Path, snapshot: str, step: Step | None, links: Mapping[str, str]) -> _Staged:
        """Makes the folder of the snapshot and the links."""
        folder.mkdir()
        staged: _Staged = {}
        source, names = self._extracted(snapshot)
        try:
            _fill(folder, source, self._seen(step, snapshot, names), staged)
        except FileNotFoundError:
            # Somebody tidied the scratch folder up: once more, from the storage.
            for item in folder.iterdir():
                remove_entry(item)
            staged.clear()
            source, names = self._extracted_anew(snapshot)
            _fill(folder, source, self._seen(step, snapshot, names), staged)
        _link(folder, links, staged)
        return staged

    def _reusable(self, folder: Path, snapshot: str, links: Mapping[str, str], staged: _Staged) -> StagedFolder | None:
        """What is to be known of the folder to use it again; None where that cannot be."""
        with suppress(OSError):  # no room for a trial, or somebody has tidied the scratch folder up
            if self._pool.is_fit():
                first = StagedFolder.of(folder, self._snapshots / snapshot, links, dict(staged))
                return first if wait_past(first.newest_ns) else None
        return None

    def _make(self) -> None:
        private_folder(self._scratch)
        try:
            self._work.mkdir(exist_ok=True)
            self._snapshots.mkdir(exist_ok=True)
            self._idle.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"the scratch folder {self._scratch} cannot be written: {error.strerror}") from error

    def make_again(self) -> None:
        """Makes the folders anew when somebody has removed them. Raises StorageError."""
        if not all(folder.is_dir() for folder in (self._work, self._snapshots, self._idle)):
            self._make()

    def _seen(self, step: Step | None, snapshot: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Of the snapshot's names, those that the step sees."""
        if step is None or not step.sources:
            return names
        key = (snapshot, step.sources, step.argv)
        selected = self._selected.get(key)
        if selected is None:
            selected = select_sources(step, names)
            with self._extracting:
                _keep(self._selected, key, selected)
        return selected

    @property
    def ceiling(self) -> Path:
        """The folder above those of all attempts."""
        return self._work

    def note_changes(self, uid: str, changes: Changes | None) -> None:
        """Of a step whose processes are all dead: from now on nothing but its worker changes its folder."""
        given = self._given.get(uid)
        if given is not None:
            given.changes = changes

    def discard(self, uid: str) -> None:
        """Removes the folders of an attempt. Puts the step's own back for the next attempt if its changes are noted."""
        given = self._given.pop(uid, None)
        try:
            if given is not None and given.changes is not None:
                folder = given.workspace.folder
                self._pool.put(given.key, folder, given.staged.put_back(folder, given.changes, given.applied()))
        except OSError:
            pass  # then it is of no use any more
        except Exception:
            # A fault of this program, which must not take the outcome of a step that has ended.
            logger.exception("a step's folder cannot be put back and is removed")
        finally:
            remove_tree(self._work / uid)
            lock = self._locks.pop(uid, None)
            if lock is not None:
                os.close(lock)

    def idle(self) -> IdleFolders:
        """The folders that wait for their next step."""
        return self._pool.idle()

    def remove_idle(self, older_than_seconds: float = _IDLE_SECONDS) -> None:
        """Removes the folders that no attempt took for so long."""
        self._pool.remove_idle(older_than_seconds)

    def remove_abandoned(self) -> int:
        """Removes what killed workers left and snapshots nobody used for a week; how many folders those were."""
        now = time.time()
        removed = 0
        parents = (self._work, self._snapshots, self._idle)
        for folder in [parent / name for parent in parents for name in names_in(parent)]:
            is_work = folder.parent != self._snapshots
            with suppress(OSError), if_free(folder) as is_free:
                # A young folder may be about to be locked.
                oldest = _YOUNG_SECONDS if is_work else _UNUSED_SECONDS
                if is_free and now - folder.stat().st_mtime > oldest:
                    hidden = folder.with_name(f".{folder.name.lstrip('.')}")
                    folder.rename(hidden)
                    remove_tree(hidden)
                    removed += 1
        return removed

    def _extracted(self, digest: str) -> tuple[Path, tuple[str, ...]]:
        known = self._known.get(digest)
        if known is not None:
            return known
        with self._extracting:
            if digest not in self._known:
                folder = self._snapshots / digest
                if not folder.is_dir():
                    self._extract(digest, folder)
                os.utime(folder)
                names = sorted((path.relative_to(folder).as_posix() for path in walk(folder)), key=str.encode)
                _keep(self._known, digest, (folder, tuple(names)))
            return self._known[digest]

    def _extracted_anew(self, digest: str) -> tuple[Path, tuple[str, ...]]:
        with self._extracting:
            folder, names = self._known.pop(digest, (self._snapshots / digest, ()))
            if not names or not all(os.path.lexists(folder / name) for name in names):
                remove_tree(folder)
        return self._extracted(digest)

    def _extract(self, digest: str, folder: Path) -> None:
        try:
            self._storage.read_snapshot(digest, lambda file: self._extract_once(file, digest, folder))
        except FileNotFoundError as error:
            where = self._storage.where_snapshot(digest)
            raise StorageError(f"the snapshot {where} is not there: is this the storage of the submitter?") from error

    def _extract_once(self, file: BufferedReader, digest: str, folder: Path) -> None:
        self.make_again()
        temporary = Path(tempfile.mkdtemp(dir=self._snapshots, prefix="."))
        try:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                where = self._storage.where_snapshot(digest)
                raise DamagedError(f"{where} is damaged: its content is not what its name says")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    _extract_member(tar, member, temporary)
            temporary.rename(folder)
        except OSError:
            # Another worker on this machine may have been first; its folder is as good.
            if not folder.is_dir():
                raise
        finally:
            remove_tree(temporary)


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


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """A worker lives for months and meets many snapshots: the oldest goes."""
    kept[key] = value
    while len(kept) > _MAX_KEPT:
        del kept[next(iter(kept))]


def _fill(folder: Path, source: Path, names: Iterable[str], staged: _Staged) -> None:
    for name in names:
        staged[name] = copy_entry(f"{source}/{name}", f"{folder}/{name}")


def _link(folder: Path, links: Mapping[str, str], staged: _Staged) -> None:
    """Makes the links that lead to data outside: nothing follows them but the step."""
    for name, target in links.items():
        _make_parents(name, folder, staged)
        (folder / name).symlink_to(target)
        staged[name] = stamp_of((folder / name).lstat())


def _apply(step: StoredStep, folder: Path, staged: _Staged) -> None:
    """Does to the folder what the published step did to its own."""
    try:
        record = step.published_record()
    except FileNotFoundError as error:
        raise DamagedError(f"{step.where()} has no manifest; was something deleted from the storage?") from error
    except StorageError as error:
        if isinstance(error, StorageAwayError) or is_passing(error.__cause__):
            raise
        raise DamagedError(str(error)) from error
    for name in record.deleted:
        _check_name(step, name, folder)
        remove_entry(folder / name)
        staged.pop(name, None)
    for file in record.outputs:
        name = file.path.rstrip("/")
        _check_name(step, name, folder)
        target = folder / name
        _make_parents(name, folder, staged)
        if name in staged and not file.path.endswith("/"):
            remove_entry(target)
        staged[name] = step.fetch(name, target)
        damage = _damage(target, file)
        if damage:
            raise DamagedError(f"{step.where(name)} is damaged: it is not what its step published ({damage})")


def _damage(copied: Path, file: OutputFile) -> str:
    """In what a file differs from its manifest, empty when it does not."""
    if file.size is None:
        return ""
    status = copied.lstat()
    if not stat.S_ISREG(status.st_mode):
        return "no file any more"
    if status.st_size != file.size:
        return f"{counted(status.st_size, 'byte')} instead of {file.size:,}"
    return "sha256" if file.sha256 is not None and sha256_of(copied) != file.sha256 else ""


def _check_name(step: StoredStep, name: str, folder: Path) -> None:
    """A manifest that was damaged or forged must lead nowhere else. Raises StorageError."""
    parts = name.split("/")
    is_inside = not name.startswith("/") and not {"", ".", ".."} & set(parts) and "\0" not in name
    if not is_inside or has_link_above(folder, name):
        raise DamagedError(f"the manifest of {step.where()} holds the name {name[:200]!r}, which leads outside")


def _make_parents(name: str, folder: Path, staged: _Staged) -> None:
    """Makes the folders above a name; they count as staged, or a later step could not remove or replace them."""
    parent = name.rpartition("/")[0]
    if parent and parent not in staged:
        _make_parents(parent, folder, staged)
        (folder / parent).mkdir(exist_ok=True)
        staged[parent] = None


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
