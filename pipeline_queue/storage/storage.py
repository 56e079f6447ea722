"""The shared storage: where everything lies, and the few operations that must be atomic.

    <root>/pipeline_queue.json                     what this folder is, and its version
    <root>/snapshots/<digest>.tar                  the pipeline's folder as it was at submission
    <root>/sweeps/<sweep>/sweep.json               the commit point of a submission
    <root>/sweeps/<sweep>/<pipeline file>          a copy, to read
    <root>/sweeps/<sweep>/end.json                 how a sweep of several runs ended
    <root>/sweeps/<sweep>/cancel.requested         somebody asked for the sweep's end
    <root>/sweeps/<sweep>/pause.requested          somebody asked that no more of its runs start
    <root>/sweeps/<sweep>/retry.json               which runs of the ended sweep are done again, if not all that can be
    <root>/sweeps/<sweep>/runs/<run>/run.json      how the run ended
    <root>/sweeps/<sweep>/runs/<run>/run.json.<n>  how it ended before it was retried for the n-th time
    <root>/sweeps/<sweep>/runs/<run>/cancel.requested   somebody asked for an end
    <root>/sweeps/<sweep>/runs/<run>/<step>/       published: step.json, outputs/ if it wrote any file,
                                                   log if it printed anything
    <root>/sweeps/<sweep>/shared/<step>-<identity>/     the same, of a step that several runs link to
    <root>/reused/<step>-<identity>/               the same, of a step that runs of all sweeps may link to
    <root>/sweeps/<sweep>/runs/<run>/<step>.attempt-<n>-<uid>/   in progress, or failed, then perhaps with kept/;
                                                   with `.lost`: of a worker that lost its lease before it had ended
    <root>/kept/<day>/<name>                       links to attempts with kept/, by the day they were kept

`<run>` is the index and the parameters that are not defaults, `0-learning_rate=0.01`, so that a person
finds outputs by browsing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from pipeline_queue.contract.errors import NotFoundError, StorageAwayError, StorageError
from pipeline_queue.contract.ids import RunId, is_sweep_id
from pipeline_queue.contract.records import Record, RetryRecord, RunRecord, StepRecord, SweepEnd, SweepRecord
from pipeline_queue.storage.access import (
    describe_denied,
    describe_failed,
    find_denied,
    give_access,
    inherit_access,
    is_denied,
    make_folder,
)
from pipeline_queue.storage.files import (
    is_there,
    names_in,
    read_awaited,
    read_bytes,
    read_whole,
    remove_file,
    rename,
)
from pipeline_queue.storage.patience import repeat_until_done

_T = TypeVar("_T")
_AnyRecord = TypeVar("_AnyRecord", bound=Record)

_MARKER = "pipeline_queue.json"
_VERSION = 1
_LABEL_BYTES = 120
_MAX_IN_A_FOLDER = 1000
HIDDEN_SECONDS = 300.0
"""A network file system may keep what it saw of a folder for some time: NFS for 60 s, unless it was mounted otherwise.
"""
_ATTEMPT = re.compile(r"(?P<step>[^.]+)\.attempt-(?P<number>[1-9][0-9]{0,8})-[0-9a-f]+(\.lost)?", re.ASCII)

_LOST = ".lost"
_THOUSAND = re.compile(r"[0-9]{6,}-[0-9]{6,}", re.ASCII)
_RUN_FOLDER = re.compile(r"(?P<index>0|[1-9][0-9]{0,8})(-.+)?", re.ASCII)

SWEEP = "sweep.json"
RUNS = "runs"
SHARED = "shared"
REUSED = "reused"
RUN_END = "run.json"
SWEEP_END = "end.json"
RETRY = "retry.json"
PAUSED = "pause.requested"
CANCELLED = "cancel.requested"
"""With a dot, as all names here that are not a step's: no step can be called so."""
STEP_RECORD = "step.json"
OUTPUTS = "outputs"
KEPT = "kept"
KEPT_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
"""A folder below it."""
LOG = "log"


def run_folder(index: int, label: Mapping[str, str]) -> str:
    """`0-learning_rate=0.01,optimizer=adam`: the index decides, the rest is for people.

    `label` is name -> canonical text of the parameters worth showing.
    """
    text = ",".join(f"{name}={value}" for name, value in label.items())
    safe = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text, flags=re.ASCII)[:_LABEL_BYTES]
    return f"{index}-{safe}" if safe else str(index)


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Every path of one run."""

    folder: Path

    def step(self, step: str) -> Path:
        return self.folder / step

    def attempt(self, step: str, attempt: int, uid: str) -> Path:
        return self.folder / f"{step}.attempt-{attempt}-{uid}"

    def names(self) -> frozenset[str]:
        """What lies in the run's folder: published steps, attempts, `run.json`, `cancel.requested`."""
        try:
            return names_in(self.folder)
        except PermissionError as error:
            raise StorageError(describe_failed(self.folder, error, "read")) from error

    def latest_attempt(self, step: str, names: frozenset[str]) -> Path | None:
        """The attempt of the highest number that was not published."""
        attempts = [(number, name) for name in names if (number := attempt_number(step, name)) is not None]
        return self.folder / max(attempts)[1] if attempts else None

    def fence_off(self, step: str, attempt: int) -> None:
        """Takes their folders from attempts that have not ended: a worker that was paused and thinks it still holds the
        lease can publish nothing and end nothing any more, however late it goes on. Raises OSError.

        Not from those that began after `attempt`: whoever calls this may have been paused itself.
        """
        names = self.names()
        ended = self._ended_attempts(names)
        for name in names - ended:
            number = attempt_number(step, name)
            if number is None or number > attempt or name.endswith(_LOST):
                continue
            record = read_step(self.folder / name)
            if record is None or record.state != "retrying":
                with contextlib.suppress(FileNotFoundError):
                    rename(self.folder / name, self.folder / f"{name}{_LOST}")

    def _ended_attempts(self, names: frozenset[str]) -> frozenset[str]:
        """The attempts with which the run ended before it was retried."""
        ends = [_read_record(RunRecord, self.folder / name) for name in names if name.startswith(f"{RUN_END}.")]
        return frozenset(step.log.partition("/")[0] for end in ends if end for step in end.steps if step.log)

    def end(self) -> RunRecord | None:
        """How the run ended, None while it has not."""
        return _read_record(RunRecord, self.folder / RUN_END)

    def former_end(self, names: frozenset[str]) -> RunRecord | None:
        """How the run ended before it was last retried, None when it never was."""
        number = _last_end(names)
        return _read_record(RunRecord, self.folder / f"{RUN_END}.{number}") if number else None

    def reopen(self) -> None:
        """Makes an ended run one that has not ended; how it did is kept. Raises StorageError."""
        try:
            names = self.names()
            if RUN_END in names:
                with contextlib.suppress(FileNotFoundError):  # somebody else retries it too
                    rename(self.folder / RUN_END, self.folder / f"{RUN_END}.{_last_end(names) + 1}")
            if CANCELLED in names:
                remove_file(self.folder / CANCELLED)
        except OSError as error:
            raise StorageError(describe_failed(self.folder, error)) from error


@dataclass(frozen=True, slots=True)
class Storage:
    """The file system with the layout above; `root` is absolute."""

    root: Path

    @classmethod
    def open(cls, root: Path, expected: str | None = None) -> Storage:
        """The storage at `root`, made ready when the folder is new.

        `expected` is the token of the storage that is in use: then none is made, and another is refused.
        Raises StorageError also when it cannot be written or was made by another version.
        """
        storage = cls(root)
        if expected is not None:
            storage.check(expected)
        try:
            for folder in (root, storage._sweeps(), storage._snapshots()):
                make_folder(folder, exist_ok=True)
            if not is_there(root / _MARKER):
                create_exclusive(root / _MARKER, json.dumps({"v": _VERSION, "token": secrets.token_hex(8)}).encode())
        except OSError as error:
            if is_denied(error):
                raise StorageError(describe_denied(Path(str(error.filename or root)), root)) from error
            raise StorageError(f"the storage {root} cannot be written: {error.strerror or error}") from error
        storage.token()
        storage.check_access()
        return storage

    def check_access(self) -> None:
        """Raises StorageError when a folder that every submission and run needs cannot be written by this user."""
        denied = find_denied((self._sweeps(), self._snapshots()))
        if denied is not None:
            raise StorageError(describe_denied(denied, self.root))

    def find_denied_sweep(self, most: int) -> Path | None:
        """One of the newest `most` sweeps that this user may not write in. Raises StorageError."""
        folders = [self.sweep(name) for name in islice(self.sweeps(), most)]
        return find_denied(path for folder in folders for path in (folder, folder / RUNS, folder / SHARED))

    def token(self) -> str:
        """What names this storage wherever it is mounted. Raises StorageError when there is none."""
        path = self.root / _MARKER
        try:
            marker = json.loads(repeat_until_done(lambda: read_whole(path)))
        except FileNotFoundError as error:
            raise StorageAwayError(f"{self.root} is no storage: {_MARKER} is not there; is it mounted?") from error
        except OSError as error:
            raise self._unreadable(path, error) from error
        except ValueError as error:
            raise StorageError(f"{path} is not readable JSON; is {self.root} a storage?") from error
        if not isinstance(marker, dict) or marker.get("v") != _VERSION:
            raise StorageError(f"{self.root} was made by another version of pipeline_queue (this one reads {_VERSION})")
        return str(marker.get("token", ""))

    def _unreadable(self, path: Path, error: OSError) -> StorageError:
        if is_denied(error):
            return StorageError(describe_denied(path, self.root, "read"))
        return StorageError(f"the storage {self.root} cannot be read: {error.strerror or error}")

    def check(self, expected: str) -> None:
        """Raises StorageError unless this is the storage of that token."""
        found = self.token()
        if found != expected:
            raise StorageError(
                f"{self.root} is another storage ({found}) than the one this broker's runs are in ({expected}); "
                "mount that one; `pipeline-queue doctor --adopt-storage` has the broker use this one from now on"
            )

    def make_run_folder(self, sweep: str, folder: Path) -> None:
        """Makes a folder of a run; not where the storage is not mounted. Raises StorageError and OSError."""
        if not is_there(self.sweep(sweep) / SWEEP):
            raise StorageAwayError(f"{self.sweep(sweep) / SWEEP} is not there; is the storage mounted?")
        make_folder(folder, exist_ok=True)

    def note_kept(self, attempt: Path, day: date, size_bytes: int | None = None) -> None:
        """Writes down that an attempt's folder has files that are kept, so that they are found when they are old.

        `size_bytes`: how much they take, for the limit of all together (`kept_files.py`).

        Raises OSError.
        """
        folder = self.root / KEPT / day.isoformat()
        make_folder(folder, exist_ok=True)
        first = "" if size_bytes is None else f"{time.time_ns() // 1_000_000}-{size_bytes}-"
        _make_link(folder / f"{first}{secrets.token_hex(8)}", os.path.relpath(attempt, folder))

    def remove_kept(self, before: date) -> int:
        """Removes the files that were kept before that day; of how many attempts. Raises OSError.

        What cannot be removed is left to the next time.
        """
        removed = 0
        for day in [self.root / KEPT / name for name in sorted(names_in(self.root / KEPT))]:
            if not KEPT_DAY.fullmatch(day.name) or day.name >= before.isoformat():
                continue
            for link in [day / name for name in names_in(day)]:
                with contextlib.suppress(OSError):
                    removed += self.remove_kept_link(link)
            with contextlib.suppress(OSError):
                day.rmdir()
        return removed

    def has_kept(self, link: Path) -> bool:
        """Whether a link that `note_kept` made leads to files that are kept."""
        try:
            folders = self._kept_of(link)
        except OSError:
            return False
        return any(repeat_until_done(folder.is_dir) for folder in folders)

    def remove_kept_link(self, link: Path) -> bool:
        """Removes such a link and the files that it leads to; whether there were any. Raises OSError."""
        removed = False
        for folder in self._kept_of(link):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                repeat_until_done(lambda folder=folder: shutil.rmtree(folder))  # type: ignore[misc]
                removed = True
        remove_file(link)
        return removed

    def _kept_of(self, link: Path) -> tuple[Path, ...]:
        """Where the files may lie; nowhere for a link that leads out of the sweeps. Raises OSError."""
        attempt = Path(os.path.normpath(link.parent / repeat_until_done(link.readlink)))
        if not attempt.is_relative_to(self._sweeps()):
            return ()
        return tuple(folder / KEPT for folder in (attempt, attempt.with_name(f"{attempt.name}{_LOST}")))

    def _sweeps(self) -> Path:
        return self.root / "sweeps"

    def _snapshots(self) -> Path:
        return self.root / "snapshots"

    def snapshot(self, digest: str) -> Path:
        return self._snapshots() / f"{digest}.tar"

    def sweep(self, sweep: str) -> Path:
        """Raises NotFoundError for a text that cannot be the name of a sweep."""
        if not is_sweep_id(sweep):
            raise NotFoundError(f"'{sweep[:100]}' is not the name of a sweep (they look like train-7k3m9q2x)")
        return self._sweeps() / sweep

    def run(self, run: RunId, label: Mapping[str, str], total: int = 1) -> RunPaths:
        """`total` runs has the sweep: those of a large one lie in a folder for each thousand."""
        folder = self.sweep(run.sweep) / RUNS
        if total > _MAX_IN_A_FOLDER:
            first = run.index // _MAX_IN_A_FOLDER * _MAX_IN_A_FOLDER
            folder /= f"{first:06d}-{first + _MAX_IN_A_FOLDER - 1:06d}"
        return RunPaths(folder / run_folder(run.index, label))

    def shared_step(self, sweep: str, shared: str) -> Path:
        """Where a step that several runs of the sweep have in common is published; the runs link to it."""
        return self.sweep(sweep) / SHARED / shared

    def reused_step(self, shared: str) -> Path:
        """Where a step that runs of all sweeps may have in common is published; the runs link to it."""
        return self.reused() / shared

    def reused(self) -> Path:
        return self.root / REUSED

    def commit_sweep(self, record: SweepRecord, pipeline_text: bytes, may_exist: bool = False) -> bool:
        """Makes the submission exist, whole and durable; False when its name is taken.

        `may_exist`: an earlier submitter of the same name may have been stopped before the commit point.

        `sweep.json` is written last, exclusively, and is on disk when this returns.
        """
        folder = self.sweep(record.id)
        try:
            make_folder(folder, exist_ok=may_exist)
        except FileExistsError:
            return False
        copy = folder / _copy_name(record.source)
        repeat_until_done(lambda: copy.write_bytes(pipeline_text))
        inherit_access(copy)
        committed = create_exclusive(folder / SWEEP, record.model_dump_json().encode(), durable=True)
        sync_folder(folder.parent)
        return committed

    def sweep_end(self, sweep: str) -> SweepEnd | None:
        """How the sweep ended, None while it has not, or has one run only."""
        return _read_record(SweepEnd, self.sweep(sweep) / SWEEP_END)

    def end_sweep(self, end: SweepEnd) -> None:
        """Raises StorageError."""
        path = self.sweep(end.sweep) / SWEEP_END
        try:
            replace_file(path, end.model_dump_json().encode())
        except OSError as error:
            raise StorageError(describe_failed(path, error)) from error

    def retry_choice(self, sweep: str) -> frozenset[int] | None:
        """The runs of an ended sweep that are done again; None: all that were not done."""
        record = _read_record(RetryRecord, self.sweep(sweep) / RETRY)
        if record is None:
            return None
        return frozenset(index for first, last in record.ranges for index in range(first, last + 1))

    def choose_retry(self, sweep: str, indexes: Iterable[int] | None) -> None:
        """Writes that choice down. Raises StorageError."""
        path = self.sweep(sweep) / RETRY
        try:
            if indexes is None:
                remove_file(path)
            else:
                record = RetryRecord(ranges=tuple(_ranges(sorted(indexes))))
                replace_file(path, record.model_dump_json().encode())
        except OSError as error:
            raise StorageError(describe_failed(path, error)) from error

    def reopen_sweep(self, sweep: str) -> None:
        """Makes an ended sweep one that has not ended. Raises StorageError."""
        folder = self.sweep(sweep)
        try:
            for name in (CANCELLED, PAUSED, SWEEP_END):
                remove_file(folder / name)
            sync_folder(folder)
        except OSError as error:
            raise StorageError(describe_failed(folder, error)) from error

    def hide_sweep(self, sweep: str) -> None:
        """Takes the sweep out of sight, at once and whole; `remove_hidden` removes it. Raises StorageError."""
        folder = self.sweep(sweep)
        try:
            rename(folder, folder.with_name(f".{sweep}.{secrets.token_hex(6)}"))
            sync_folder(folder.parent)
        except OSError as error:
            raise StorageError(describe_failed(folder, error, "removed")) from error

    def hidden_sweeps(self) -> list[Path]:
        """What `hide_sweep` left, also of those that were stopped before it was removed."""
        hidden = [name for name in names_in(self._sweeps()) if name.startswith(".")]
        return [self._sweeps() / name for name in hidden if is_sweep_id(name[1:].partition(".")[0])]

    def request_cancel(self, sweep: str) -> None:
        """Writes down that the sweep is to end. Raises StorageError."""
        path = self.sweep(sweep) / CANCELLED
        try:
            create_exclusive(path, b"", durable=True)
        except OSError as error:
            raise StorageError(describe_failed(path, error)) from error

    def set_paused(self, sweep: str, paused: bool) -> None:
        """Writes down whether more runs of the sweep may start. Raises StorageError."""
        path = self.sweep(sweep) / PAUSED
        try:
            if paused:
                create_exclusive(path, b"", durable=True)
            else:
                remove_file(path)
        except OSError as error:
            raise StorageError(describe_failed(path, error)) from error

    def is_paused(self, sweep: str) -> bool:
        return is_there(self.sweep(sweep) / PAUSED)

    def is_cancelled(self, sweep: str) -> bool:
        return is_there(self.sweep(sweep) / CANCELLED)

    def read_sweep(self, sweep: str) -> SweepRecord:
        """Raises NotFoundError when there is no such sweep, StorageError when the storage is not there."""
        path = self.sweep(sweep) / SWEEP
        record = _read_record(SweepRecord, path)
        if record is None:
            self.token()
            # Its folder is there: it is being submitted, or this machine does not see all of it yet.
            if sweep in names_in(self._sweeps()):
                with contextlib.suppress(FileNotFoundError):
                    read_awaited(path, path.stat)
                record = _read_record(SweepRecord, path)
        if record is None:
            raise NotFoundError(f"there is no sweep '{sweep}' in {self.root}")
        return record

    def sweep_bytes(self, sweep: str) -> int:
        """The size of the sweep's record, 0 when it is gone."""
        try:
            return (self.sweep(sweep) / SWEEP).stat().st_size
        except OSError:
            return 0

    def run_folders(self, sweep: str) -> Iterator[tuple[int, RunPaths]]:
        """Every run of the sweep that has a folder, with its index, in no order."""
        pending = [self.sweep(sweep) / RUNS]
        while pending:
            folder = pending.pop()
            for name in names_in(folder):
                if _THOUSAND.fullmatch(name):
                    pending.append(folder / name)
                elif found := _RUN_FOLDER.fullmatch(name):
                    yield int(found["index"]), RunPaths(folder / name)

    def sweeps(self) -> Iterator[str]:
        """The names of all sweeps, newest first."""
        try:
            entries = repeat_until_done(lambda: list(_names_and_ages(self._sweeps())))
        except OSError as error:
            raise self._unreadable(self._sweeps(), error) from error
        return (name for _, name in sorted(entries, reverse=True) if is_sweep_id(name))


def _last_end(names: Iterable[str]) -> int:
    numbers = (name.removeprefix(f"{RUN_END}.") for name in names if name.startswith(f"{RUN_END}."))
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _ranges(indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending indexes as first and last of what follows one another."""
    first = last = -1
    for index in indexes:
        if index != last + 1 or first < 0:
            if first >= 0:
                yield first, last
            first = index
        last = index
    if first >= 0:
        yield first, last


def _names_and_ages(folder: Path) -> Iterator[tuple[float, str]]:
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # removed just now
            yield entry.stat().st_mtime, entry.name


def read_step(folder: Path) -> StepRecord | None:
    """The manifest of a published step or an ended attempt. Raises StorageError when it is damaged."""
    return _read_record(StepRecord, folder / STEP_RECORD)


def read_published_step(folder: Path) -> StepRecord:
    """The manifest of a step that is known to be published: waited for while this machine does not see it yet.

    Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear, StorageError when it is
    damaged.
    """

    def read() -> StepRecord:
        record = read_step(folder)
        if record is None:
            raise FileNotFoundError(errno.ENOENT, "it has no manifest", str(folder))
        return record

    return read_visible(folder, read)


def read_visible(folder: Path, action: Callable[[], _T]) -> _T:
    """The result of the action, which reads what was put into the folder.

    Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear, OSError, StorageError.
    """
    try:
        return read_awaited(folder / STEP_RECORD, action)
    except FileNotFoundError as error:
        if not _has_rested(folder):
            raise StorageAwayError(f"{error.filename}: {error.strerror} that this machine sees yet") from error
        raise


def _has_rested(folder: Path) -> bool:
    """Whether nothing was put into the folder, or removed from it, for longer than a change of it can be hidden."""
    try:
        return time.time() - repeat_until_done(folder.stat).st_mtime > HIDDEN_SECONDS
    except OSError:
        return False


def attempt_number(step: str, name: str) -> int | None:
    """The number in the name of one of the step's attempts, None for any other name."""
    found = _ATTEMPT.fullmatch(name)
    return int(found["number"]) if found and found["step"] == step else None


def create_exclusive(path: Path, data: bytes, durable: bool = False, within: Path | None = None) -> bool:
    """Writes a whole new file or nothing; False when the name is taken. Raises OSError.

    With `within`, a folder of the same file system, only if that folder is there under this name at the last moment.
    """
    temporary = _write_beside(within / path.name if within else path, data, durable)
    try:
        is_new = repeat_until_done(lambda: _link_exclusive(temporary, path))
    except OSError as error:
        # No hard links here (some network file systems): exclusive, though a reader may see it half-written.
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
        # A network file system may say so of our own link, made by a request that it was sent twice.
        return temporary.samefile(path)
    return True


def replace_file(path: Path, data: bytes) -> None:
    """Writes the whole file or leaves what was there; a reader never sees half of it. Raises OSError."""
    temporary = _write_beside(path, data, durable=False)

    def replace() -> None:
        try:
            temporary.replace(path)
        except FileNotFoundError:
            # A try that was said to have failed may have happened.
            if read_whole(path) != data:
                raise

    try:
        repeat_until_done(replace)
    except BaseException:
        _remove_temporary(temporary)
        raise


def link_step(target: Path, link: Path) -> None:
    """Makes a shared step a run's own, by a relative link; nothing happens when it is there. Raises OSError."""
    with contextlib.suppress(PermissionError):  # another user's
        # In use again: whoever removes unused ones leaves it alone.
        read_awaited(target, lambda: os.utime(target))
    make_folder(link.parent, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        _make_link(link, os.path.relpath(target, link.parent))


def _make_link(link: Path, target: str) -> None:
    """Raises FileExistsError for one that somebody else made, OSError."""

    def once() -> None:
        try:
            link.symlink_to(target, target_is_directory=True)
        except FileExistsError:
            if not link.is_symlink() or os.fspath(link.readlink()) != target:
                raise

    repeat_until_done(once)


def publish(attempt: Path, target: Path, uid: str) -> bool:
    """Makes the attempt's folder the step's folder; False when another attempt already did.

    `rename` onto a name that must not exist is atomic. A network file system may report an error although it
    happened, so after any error the winner is read again (FACTS of rename: it *succeeds* onto an empty folder,
    therefore nobody ever creates the target). It may also not show the winner yet, and is asked again.
    """
    decided = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)

    def once() -> bool:
        try:
            attempt.rename(target)
        except OSError as error:
            winner = read_step(target)
            if winner is None or (winner.uid != uid and error.errno not in decided):
                raise
            return winner.uid == uid
        return True

    return repeat_until_done(once, lambda error: error.errno in decided)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
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
        with _open_new(temporary) as file:
            give_access(file.fileno(), path.parent.stat())
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())

    try:
        repeat_until_done(write)
    except BaseException:
        _remove_temporary(temporary)
        raise
    return temporary


def _open_new(path: Path) -> BinaryIO:
    """A file of a name that is ours alone: one that is there is of a try that was said to have failed."""
    try:
        return path.open("xb")
    except FileExistsError:
        path.unlink()
        return path.open("xb")


def _remove_temporary(path: Path) -> None:
    """Never raises: one that is left is in nobody's way."""
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


def _read_record(kind: type[_AnyRecord], path: Path) -> _AnyRecord | None:
    try:
        data = read_bytes(path)
    except PermissionError as error:
        raise StorageError(describe_failed(path, error, "read")) from error
    if data is None:
        return None
    try:
        return kind.model_validate_json(data)
    except ValueError as error:
        raise StorageError(f"{path} is damaged, or was written by another version of pipeline_queue") from error


def _copy_name(source: str) -> str:
    """Under which the pipeline file is kept beside `sweep.json`: its own name, unless that is one of ours."""
    name = Path(source).name or "pipeline.yaml"
    return f"pipeline-{name}" if name in (SWEEP, RUNS) else name
