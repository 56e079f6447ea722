"""The folder of one attempt, with its log, outputs and manifest. Publishing makes it the step's folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.errors import StorageAwayError
from pipeline_queue.contract.records import OutputFile, StepRecord
from pipeline_queue.storage.access import inherit_access, inherit_access_below, make_folder
from pipeline_queue.storage.atomic import replace_file
from pipeline_queue.storage.file_tree import move_entry, remove_tree
from pipeline_queue.storage.files import is_there, read_end
from pipeline_queue.storage.layout import KEPT, LOG, OUTPUTS, STEP_RECORD
from pipeline_queue.storage.patience import repeat_until_done
from pipeline_queue.storage.run_store import AttemptSlot, StoredStep, TooLargeError
from pipeline_queue.storage.step_folder import folder_of_step, publish


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """The folder of one attempt. Only the attempt writes to it; after `fence_off` moves it away, every write fails.

    `commit`: the file whose existence makes the sweep exist.
    """

    folder: Path
    uid: str
    commit: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def where(self) -> str:
        """For people: where the attempt's files are."""
        return str(self.folder)

    def make(self) -> None:
        """Creates the folder, but not where the storage is not mounted. Raises StorageError and OSError."""
        try:
            # Only this attempt uses the name: an existing folder comes from our own request, sent twice.
            repeat_until_done(lambda: self.folder.mkdir(exist_ok=True))
            inherit_access(self.folder)
        except FileNotFoundError:
            if not is_there(self.commit):
                raise StorageAwayError(f"{self.commit} is not there; is the storage mounted?") from None
            make_folder(self.folder, exist_ok=True)

    def log_sink(self) -> str:
        """The path of the file to which the supervisor appends what the step prints."""
        return str(self.folder / LOG)

    def append_to_log(self, data: bytes) -> None:
        """Appends to the step's log. Raises OSError, StorageError."""
        left = data

        def append() -> None:
            nonlocal left
            with (self.folder / LOG).open("ab", buffering=0) as file:
                while left:
                    left = left[os.write(file.fileno(), left) :]

        repeat_until_done(append)

    def log_end(self, size_bytes: int) -> bytes:
        """The last bytes of the log, at most `size_bytes`. Raises OSError, StorageError."""
        return repeat_until_done(lambda: read_end(self.folder / LOG, size_bytes))

    def drop_log(self) -> None:
        """Removes the log of a step that printed nothing. Raises OSError."""
        (self.folder / LOG).unlink(missing_ok=True)

    def put_outputs(self, workspace: Path, files: Iterable[OutputFile]) -> None:
        """Moves these files of the step's working directory to its outputs; safe to repeat after an error.

        Raises TooLargeError, OSError, StorageError.
        """
        put_files(workspace, files, self.folder / OUTPUTS)

    def put_kept(self, workspace: Path, files: Iterable[OutputFile]) -> None:
        """Like `put_outputs`, for the files that are kept of a failed attempt."""
        put_files(workspace, files, self.folder / KEPT)

    def drop_outputs(self) -> None:
        """Removes the outputs. Never raises."""
        remove_tree(self.folder / OUTPUTS)

    def drop_kept(self) -> None:
        """Removes the kept files. Never raises."""
        remove_tree(self.folder / KEPT)

    def share_access(self) -> None:
        """Gives the group that shares the storage access to the files of this attempt. Never raises."""
        inherit_access_below(self.folder)

    def write_record(self, record: StepRecord) -> None:
        """Writes the manifest as a whole, or leaves the old one unchanged. Raises OSError, StorageError."""
        replace_file(self.folder / STEP_RECORD, record.model_dump_json().encode())

    def publish(self, target: StoredStep) -> bool:
        """Publishes this attempt as the step; False when another attempt was first. Raises OSError, StorageError.

        This is the one conditional write of a step: it succeeds only where nothing is published yet.
        """
        folder = folder_of_step(target)
        if folder.parent != self.folder.parent:
            make_folder(folder.parent, exist_ok=True)  # for steps that several runs share
        return publish(self.folder, folder, self.uid)

    def discard(self) -> None:
        """Removes the whole folder. Never raises."""
        remove_tree(self.folder)


def put_files(workspace: Path, files: Iterable[OutputFile], target: Path) -> None:
    """Moves files to `target`, which is created if there are any; safe to repeat after an error.

    Raises TooLargeError, OSError, StorageError.
    """
    made: set[Path] = set()
    for file in files:
        if not made:
            repeat_until_done(lambda: target.mkdir(exist_ok=True))
            made.add(target)
        destination = target / file.path
        parent = destination if file.path.endswith("/") else destination.parent
        if parent not in made:
            repeat_until_done(lambda parent=parent: parent.mkdir(parents=True, exist_ok=True))  # type: ignore[misc]
            made.add(parent)
        if not file.path.endswith("/"):
            try:
                move_entry(workspace / file.path, destination, workspace)
            except OSError as error:
                if error.errno == errno.EFBIG:
                    raise TooLargeError(file.path, file.size) from error
                raise


def folder_of_attempt(slot: AttemptSlot) -> Path:
    """The folder behind a slot. A slot only works with the store that created it."""
    assert isinstance(slot, AttemptFolder)
    return slot.folder
