"""One run in the storage: its published steps, its attempts, its cancel request and its end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.records import RunRecord, StepRecord
from pipeline_queue.storage.access import describe_failed, make_folder
from pipeline_queue.storage.atomic import create_exclusive
from pipeline_queue.storage.attempt_folder import AttemptFolder, folder_of_attempt
from pipeline_queue.storage.file_tree import remove_tree
from pipeline_queue.storage.files import names_in, remove_file, rename
from pipeline_queue.storage.layout import CANCELLED, KEPT, LOST, RUN_END, attempt_number, last_end
from pipeline_queue.storage.reading import read_record, read_step, read_visible
from pipeline_queue.storage.run_store import AttemptSlot, StoredStep
from pipeline_queue.storage.step_folder import StepFolder, folder_of_step, link_step

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run; `commit` is the file whose existence makes its sweep exist."""

    folder: Path
    commit: Path

    def where(self, name: str = "") -> str:
        """For people: where the run's files are, or its file or folder `name`."""
        return os.path.join(self.folder, name) if name else str(self.folder)  # noqa: PTH118 - a string, for speed

    def names(self) -> frozenset[str]:
        """The names in the run's folder: published steps, attempts, `run.json`, `cancel.requested`."""
        try:
            return names_in(self.folder)
        except PermissionError as error:
            raise StorageError(describe_failed(self.folder, error, "read")) from error

    def step(self, step: str) -> StepFolder:
        return StepFolder(self.folder / step)

    def begin_attempt(self, step: str, attempt: int, uid: str) -> AttemptFolder:
        """The slot that one attempt writes to; this call writes nothing yet."""
        return AttemptFolder(self.folder / f"{step}.attempt-{attempt}-{uid}", uid, self.commit)

    def attempt_record(self, name: str) -> StepRecord | None:
        """How the attempt of that name ended, None before its end. Raises StorageError when the record is damaged."""
        return read_step(self.folder / name)

    def read_visible(self, action: Callable[[], _T]) -> _T:
        """The result of the action, which reads files that were put into the run.

        Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear, OSError, StorageError.
        """
        return read_visible(self.folder, action)

    def link(self, step: str, shared: StoredStep) -> None:
        """Links a shared step into the run; does nothing when it is linked. Raises OSError, StorageError."""
        link_step(folder_of_step(shared), self.folder / step)

    def fence_off(self, step: str, attempt: int) -> None:
        """Moves the folders of unfinished attempts away. A worker that was paused and believes that it still holds the
        lease can then neither publish nor end anything, however late it resumes. Raises OSError.

        Spares attempts that began after `attempt`, because the caller may have been paused, too.
        """
        names = self.names()
        ended = self._ended_attempts(names)
        for name in names - ended:
            number = attempt_number(step, name)
            if number is None or number > attempt or name.endswith(LOST):
                continue
            record = read_step(self.folder / name)
            if record is None or record.state != "retrying":
                with contextlib.suppress(FileNotFoundError):
                    rename(self.folder / name, self.folder / f"{name}{LOST}")

    def _ended_attempts(self, names: frozenset[str]) -> frozenset[str]:
        """The attempts that the records of the run's former ends, from before its retries, refer to."""
        ends = [read_record(RunRecord, self.folder / name) for name in names if name.startswith(f"{RUN_END}.")]
        return frozenset(step.log.partition("/")[0] for end in ends if end for step in end.steps if step.log)

    def drop_kept(self, attempt: str) -> None:
        """Removes the kept files of the attempt of that name. Never raises."""
        remove_tree(self.folder / attempt / KEPT)

    def end(self) -> RunRecord | None:
        """How the run ended, None before its end."""
        return read_record(RunRecord, self.folder / RUN_END)

    def former_end(self, names: frozenset[str]) -> RunRecord | None:
        """How the run ended before its last retry, None when it was never retried."""
        number = last_end(names)
        return read_record(RunRecord, self.folder / f"{RUN_END}.{number}") if number else None

    def write_end(self, record: RunRecord, within: AttemptSlot | None = None) -> bool:
        """Ends the run unless it has ended. Returns whether this call ended it. Raises OSError, StorageError.

        With `within`, ends the run only while that attempt is not fenced off and so still has its folder.
        """
        make_folder(self.folder, exist_ok=True)
        data = record.model_dump_json().encode()
        return create_exclusive(self.folder / RUN_END, data, within=folder_of_attempt(within) if within else None)

    def request_cancel(self) -> None:
        """Records a request to cancel the run. Raises OSError, StorageError."""
        make_folder(self.folder, exist_ok=True)
        create_exclusive(self.folder / CANCELLED, b"", durable=True)

    def reopen(self) -> None:
        """Reopens an ended run, and keeps the record of its former end. Raises StorageError."""
        try:
            names = self.names()
            if RUN_END in names:
                with contextlib.suppress(FileNotFoundError):  # another process retries it too
                    rename(self.folder / RUN_END, self.folder / f"{RUN_END}.{last_end(names) + 1}")
            if CANCELLED in names:
                remove_file(self.folder / CANCELLED)
        except OSError as error:
            raise StorageError(describe_failed(self.folder, error)) from error
