"""Stores sweeps and runs on a file system that all machines share, local or NFS. `layout.py` has the layout."""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId, is_sweep_id
from pipeline_queue.contract.records import ActionRecord, PublishedPipeline, RetryRecord, SweepEnd, SweepRecord
from pipeline_queue.storage.access import describe_failed, inherit_access, make_folder
from pipeline_queue.storage.action_log import append_action, read_actions
from pipeline_queue.storage.at_once import at_once
from pipeline_queue.storage.atomic import create_exclusive, replace_file, sync_folder
from pipeline_queue.storage.attempt_folder import folder_of_attempt
from pipeline_queue.storage.disk import Room, room_of, try_to_write
from pipeline_queue.storage.files import is_there, names_in, read_awaited, read_bytes, remove_file, rename
from pipeline_queue.storage.kept_files import kept_total, note_kept, remove_kept, remove_kept_above
from pipeline_queue.storage.layout import (
    CANCELLED,
    MAX_IN_A_FOLDER,
    PAUSED,
    RETRY,
    REUSED,
    RUN_END,
    RUNS,
    SHARED,
    SNAPSHOTS,
    SWEEP,
    SWEEP_END,
    SWEEPS,
    copy_name,
    run_folder,
)
from pipeline_queue.storage.listing import names_and_ages, run_paths
from pipeline_queue.storage.marker import check_access, check_token, make_storage, read_token, unreadable
from pipeline_queue.storage.patience import repeat_until_done
from pipeline_queue.storage.published_pipelines import pipeline_names, read_pipeline, write_pipeline
from pipeline_queue.storage.reading import read_record
from pipeline_queue.storage.removal import links_into, remove_unlinked, remove_unnamed, remove_whole
from pipeline_queue.storage.run_folder import RunFolder
from pipeline_queue.storage.run_store import AttemptSlot, KeptTotal
from pipeline_queue.storage.snapshot_files import keep_snapshot, put_snapshot, read_snapshot
from pipeline_queue.storage.step_folder import StepFolder

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage in the folder `root`, an absolute path."""

    root: Path

    @classmethod
    def open(cls, root: Path, expected: str | None = None) -> Storage:
        """Opens the storage at `root`, and creates it when the folder is new.

        With `expected`, the token of the storage in use, it creates none and rejects a storage with another token.
        Raises StorageError also when it cannot be written to or another version created it.
        """
        storage = cls(root)
        if expected is not None:
            storage.check(expected)
        make_storage(root, (storage._sweeps(), storage._snapshots()))
        storage.token()
        storage.check_access()
        return storage

    def where(self) -> str:
        """For people: where the storage is."""
        return str(self.root)

    def is_new(self) -> bool:
        """Whether `root` contains nothing yet. Raises OSError, StorageError."""
        return not is_there(self.root) or (self.root.is_dir() and not any(self.root.iterdir()))

    def is_made(self) -> bool:
        """Whether `root` is, or was, a storage that may contain sweeps. Raises OSError, StorageError."""
        return is_there(self._sweeps())

    def token(self) -> str:
        """The text that identifies this storage at every mount point. Raises StorageError when there is none."""
        return read_token(self.root)

    def check(self, expected: str) -> None:
        """Raises StorageError unless the storage has this token."""
        check_token(self.root, expected)

    def check_access(self, most_sweeps: int = 0) -> None:
        """Raises StorageError when this user may not write to a folder that every submission and run needs.

        Checks the newest `most_sweeps` sweeps, too.
        """
        check_access(self.root, (self._sweeps(), self._snapshots()))
        folders = (self.sweep(name) for name in islice(self.sweeps(), most_sweeps) if most_sweeps)
        check_access(self.root, (path for folder in folders for path in (folder, folder / RUNS, folder / SHARED)))

    def room(self) -> Room:
        """The space that is free for this user. Raises OSError."""
        return room_of(self.root)

    def try_to_write(self) -> None:
        """Writes a test file, reads it and removes it. Raises OSError."""
        try_to_write(self.root)

    def note_kept(self, attempt: AttemptSlot, day: date, size_bytes: int | None = None) -> None:
        """Writes down that an attempt has files that are kept, so that they are found when they are old or too many.

        Raises OSError, StorageError.
        """
        note_kept(self.root, folder_of_attempt(attempt), day, size_bytes)

    def remove_kept(self, before: date) -> int:
        """Removes the files kept before that day, as far as it can; the number of their attempts. Raises OSError."""
        return remove_kept(self.root, before)

    def remove_kept_above(self, limit_bytes: int) -> int:
        """Removes the oldest until the rest is within the limits. Returns the number of attempts. Raises OSError."""
        return remove_kept_above(self.root, limit_bytes)

    def kept_total(self) -> KeptTotal:
        """The number and size of the kept files now. Raises OSError."""
        return kept_total(self.root)

    def publish_pipeline(self, record: PublishedPipeline) -> None:
        write_pipeline(self.root, record)

    def published_pipeline(self, name: str) -> PublishedPipeline:
        return read_pipeline(self.root, name)

    def published_pipelines(self) -> list[str]:
        return pipeline_names(self.root)

    def note_action(self, record: ActionRecord) -> None:
        append_action(self.root, record)

    def actions_on(self, sweep: str) -> list[ActionRecord]:
        return read_actions(self.root, sweep)

    def _sweeps(self) -> Path:
        return self.root / SWEEPS

    def _snapshots(self) -> Path:
        return self.root / SNAPSHOTS

    def snapshot(self, digest: str) -> Path:
        return self._snapshots() / f"{digest}.tar"

    def where_snapshot(self, digest: str) -> str:
        """For people: where the snapshot is."""
        return str(self.snapshot(digest))

    def put_snapshot(self, digest: str, tar: IO[bytes]) -> None:
        """Stores a packed folder under its digest unless it is there already. Raises StorageError."""
        put_snapshot(self.snapshot(digest), tar)

    def keep_snapshot(self, digest: str) -> bool:
        """Marks the snapshot as in use, so that nobody removes it for an hour; False when there is none."""
        return keep_snapshot(self.snapshot(digest))

    def read_snapshot(self, digest: str, action: Callable[[io.BufferedReader], _T]) -> _T:
        """The result of the action, which reads the tar. Temporary errors restart the action at the tar's beginning.

        Raises FileNotFoundError when there is no such snapshot, OSError, StorageError.
        """
        return read_snapshot(self.snapshot(digest), action)

    def pipeline_text(self, record: SweepRecord) -> bytes:
        """The copy of the pipeline file, empty when it is gone. Raises OSError."""
        return read_bytes(self.sweep(record.id) / copy_name(record.source)) or b""

    def sweep(self, sweep: str) -> Path:
        """The sweep's folder. Raises NotFoundError for a text that cannot be the name of a sweep."""
        if not is_sweep_id(sweep):
            raise NotFoundError(f"'{sweep[:100]}' is not the name of a sweep (they look like train-7k3m9q2x)")
        return self._sweeps() / sweep

    def run(self, run: RunId, label: Mapping[str, str], total: int = 1) -> RunFolder:
        """`total`: the number of the sweep's runs. A large sweep has one folder per thousand runs."""
        folder = self.sweep(run.sweep) / RUNS
        if total > MAX_IN_A_FOLDER:
            first = run.index // MAX_IN_A_FOLDER * MAX_IN_A_FOLDER
            folder /= f"{first:06d}-{first + MAX_IN_A_FOLDER - 1:06d}"
        return RunFolder(folder / run_folder(run.index, label), self.sweep(run.sweep) / SWEEP)

    def shared_step(self, sweep: str, shared: str) -> StepFolder:
        """The place where a step that several runs of the sweep share is published; the runs link to it."""
        return StepFolder(self.sweep(sweep) / SHARED / shared)

    def reused_step(self, shared: str) -> StepFolder:
        """The place where a step that runs of all sweeps may share is published; the runs link to it."""
        return StepFolder(self.root / REUSED / shared)

    def shared_steps(self, sweep: str) -> frozenset[str]:
        """The names of the published steps that runs of the sweep share."""
        return names_in(self.sweep(sweep) / SHARED)

    def commit_sweep(self, record: SweepRecord, pipeline_text: bytes, may_exist: bool = False) -> bool:
        """Makes the submission exist, complete and durable; False when its name is taken.

        `may_exist`: an earlier submitter with the same name may have been stopped before the commit point.

        Writes `sweep.json` last and exclusively; it is on disk when this method returns.
        """
        folder = self.sweep(record.id)
        try:
            make_folder(folder, exist_ok=may_exist)
        except FileExistsError:
            return False
        copy = folder / copy_name(record.source)
        repeat_until_done(lambda: copy.write_bytes(pipeline_text))
        inherit_access(copy)
        committed = create_exclusive(folder / SWEEP, record.model_dump_json().encode(), durable=True)
        sync_folder(folder.parent)
        return committed

    def sweep_end(self, sweep: str) -> SweepEnd | None:
        """How the sweep ended. None before its end, and for a sweep of a single run."""
        return read_record(SweepEnd, self.sweep(sweep) / SWEEP_END)

    def end_sweep(self, end: SweepEnd) -> None:
        """Records the sweep's end. Raises StorageError."""
        path = self.sweep(end.sweep) / SWEEP_END
        try:
            replace_file(path, end.model_dump_json().encode())
        except OSError as error:
            raise StorageError(describe_failed(path, error)) from error

    def retry_choice(self, sweep: str) -> frozenset[int] | None:
        """The indexes of an ended sweep's runs that are retried; None: all that did not succeed."""
        record = read_record(RetryRecord, self.sweep(sweep) / RETRY)
        return record.indexes() if record else None

    def choose_retry(self, sweep: str, indexes: Iterable[int] | None) -> None:
        """Records that choice. Raises StorageError."""
        path = self.sweep(sweep) / RETRY
        try:
            if indexes is None:
                remove_file(path)
            else:
                replace_file(path, RetryRecord.of(indexes).model_dump_json().encode())
        except OSError as error:
            raise StorageError(describe_failed(path, error)) from error

    def reopen_sweep(self, sweep: str) -> None:
        """Reopens an ended sweep. Raises StorageError."""
        folder = self.sweep(sweep)
        try:
            for name in (CANCELLED, PAUSED, SWEEP_END):
                remove_file(folder / name)
            sync_folder(folder)
        except OSError as error:
            raise StorageError(describe_failed(folder, error)) from error

    def delete_sweep(self, record: SweepRecord) -> None:
        """Hides the sweep at once, then removes it, and its snapshot if no other sweep names that.

        Raises StorageError.
        """
        folder = self.sweep(record.id)
        try:
            rename(folder, folder.with_name(f".{record.id}.{secrets.token_hex(6)}"))
            sync_folder(folder.parent)
        except OSError as error:
            raise StorageError(describe_failed(folder, error, "removed")) from error
        for hidden in self._hidden_sweeps():
            remove_whole(hidden)
        path = self.snapshot(record.snapshot)
        try:
            remove_unnamed(path, lambda: self._names_snapshot(record.snapshot))
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror}") from error

    def _hidden_sweeps(self) -> list[Path]:
        """Hidden sweeps, also those whose deletion was interrupted before it removed them."""
        hidden = [name for name in names_in(self._sweeps()) if name.startswith(".")]
        return [self._sweeps() / name for name in hidden if is_sweep_id(name[1:].partition(".")[0])]

    def _names_snapshot(self, digest: str) -> bool:
        """Whether any sweep or published pipeline names the snapshot."""
        if any(self.published_pipeline(name).snapshot == digest for name in self.published_pipelines()):
            return True
        for name in self.sweeps():
            try:
                if self.read_sweep(name).snapshot == digest:
                    return True
            except NotFoundError:
                continue
            except StorageError:
                return True  # a damaged record: it may name this snapshot
        return False

    def remove_reused(self, older_than_seconds: float) -> tuple[int, int]:
        """Removes the steps published for all sweeps that no run links to. Returns how many it removed and how many
        stay. Raises StorageError.
        """
        folder = self.root / REUSED
        try:
            return remove_unlinked(folder, older_than_seconds, self._links_to_reused)
        except OSError as error:
            raise StorageError(f"cannot clean up {folder}: {error.strerror}") from error

    def _links_to_reused(self) -> set[str]:
        """The names of the reused steps that a run of any sweep links to."""
        paths = (path for sweep in self.sweeps() for _, path in run_paths(self.sweep(sweep) / RUNS))
        return {name for path in paths for name in links_into(path, REUSED)}

    def request_cancel(self, sweep: str) -> None:
        """Records a request to cancel the sweep. Raises StorageError."""
        path = self.sweep(sweep) / CANCELLED
        try:
            create_exclusive(path, b"", durable=True)
        except OSError as error:
            raise StorageError(describe_failed(path, error)) from error

    def set_paused(self, sweep: str, paused: bool) -> None:
        """Records whether the sweep is paused: then no more of its runs start. Raises StorageError."""
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
        """The sweep's record. Raises NotFoundError when it does not exist, StorageError when the storage is away."""
        path = self.sweep(sweep) / SWEEP
        record = read_record(SweepRecord, path)
        if record is None:
            self.token()
            # The folder exists: a client is submitting the sweep, or this machine does not see all of it yet.
            if sweep in names_in(self._sweeps()):
                with contextlib.suppress(FileNotFoundError):
                    read_awaited(path, path.stat)
                record = read_record(SweepRecord, path)
        if record is None:
            raise NotFoundError(f"there is no sweep '{sweep}' in {self.root}")
        return record

    def has_sweep(self, sweep: str) -> bool:
        """Whether the sweep was committed. Raises OSError."""
        return is_there(self.sweep(sweep) / SWEEP)

    def where_sweep(self, sweep: str) -> str:
        """For people: where the sweep's record is."""
        return str(self.sweep(sweep) / SWEEP)

    def sweep_bytes(self, sweep: str) -> int:
        """The size of the sweep's record, 0 when it does not exist any more."""
        try:
            return (self.sweep(sweep) / SWEEP).stat().st_size
        except OSError:
            return 0

    def runs(self, sweep: str) -> Iterator[tuple[int, RunFolder]]:
        """Yields every run of the sweep that has written anything, with its index, unordered."""
        commit = self.sweep(sweep) / SWEEP
        for index, path in run_paths(self.sweep(sweep) / RUNS):
            yield index, RunFolder(Path(path), commit)

    def run_ends(self, sweep: str) -> Iterator[tuple[str, bytes]]:
        """Yields the address and content of every ended run's end record, unordered.

        Raises NotFoundError when there is no such sweep, StorageError.
        """
        folder = self.sweep(sweep)
        if not is_there(folder / SWEEP):
            raise NotFoundError(f"no sweep '{sweep}' in {self.root}; `pipeline-queue status` lists them")
        try:
            paths = (f"{path}/{RUN_END}" for _, path in run_paths(self.sweep(sweep) / RUNS))
            for path, data in at_once(lambda path: (path, read_bytes(path)), paths):
                if data is not None:
                    yield path, data
        except OSError as error:
            raise StorageError(f"the runs in {folder} cannot be read: {error.strerror or error}") from error

    def sweeps(self) -> Iterator[str]:
        """The names of all sweeps, newest first."""
        try:
            entries = repeat_until_done(lambda: list(names_and_ages(self._sweeps())))
        except OSError as error:
            raise unreadable(self.root, self._sweeps(), error) from error
        return (name for _, name in sorted(entries, reverse=True) if is_sweep_id(name))
