"""The folder of one published step: reads it, copies outputs from it and links to it, but never changes it."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.records import StepRecord
from pipeline_queue.storage.access import make_folder
from pipeline_queue.storage.atomic import make_link
from pipeline_queue.storage.file_tree import FileStamp, copy_entry
from pipeline_queue.storage.files import is_there, read_awaited
from pipeline_queue.storage.layout import OUTPUTS
from pipeline_queue.storage.patience import repeat_until_done
from pipeline_queue.storage.reading import read_published_step, read_step
from pipeline_queue.storage.run_store import StoredStep


@dataclass(frozen=True, slots=True)
class StepFolder:
    """The folder of a step, of one run or shared by several. It exists once the step is published."""

    folder: Path

    def where(self, name: str = "") -> str:
        """For people: where the step's files are, or its output `name`."""
        return str(self.folder / OUTPUTS / name if name else self.folder)

    def is_published(self) -> bool:
        """Whether the step is published. Raises OSError, StorageError."""
        return is_there(self.folder)

    def record(self) -> StepRecord | None:
        """The manifest, None before the step is published. Raises StorageError when it is damaged."""
        return read_step(self.folder)

    def published_record(self) -> StepRecord:
        """The manifest of a step that is known to be published. Waits while this machine does not see it yet.

        Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear, StorageError when it is
        damaged.
        """
        return read_published_step(self.folder)

    def fetch(self, name: str, target: Path) -> FileStamp | None:
        """Copies a file, link or folder (without its content) of the outputs to `target`. Returns the copy's stamp.

        Raises OSError, StorageError.
        """
        source = self.folder / OUTPUTS / name
        is_repeated = False

        def copy() -> FileStamp | None:
            nonlocal is_repeated
            if is_repeated and not target.is_dir():
                target.unlink(missing_ok=True)  # a partial copy
            is_repeated = True
            return copy_entry(source, target)

        return read_awaited(source, copy)


def folder_of_step(step: StoredStep) -> Path:
    """The folder behind a step. A step only works with the store that created it."""
    assert isinstance(step, StepFolder)
    return step.folder


def link_step(target: Path, link: Path) -> None:
    """Links a shared step into a run, with a relative link; does nothing when the link exists. Raises OSError."""
    with contextlib.suppress(PermissionError):  # another user owns it
        # Mark the step as in use, so that the removal of unused steps spares it.
        read_awaited(target, lambda: os.utime(target))
    make_folder(link.parent, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        make_link(link, os.path.relpath(target, link.parent))


def publish(attempt: Path, target: Path, uid: str) -> bool:
    """Makes the attempt's folder the step's folder; False when another attempt has published the step before.

    `rename` onto a name that must not exist is atomic. A network file system may report an error although the rename
    happened, so after any error the winner is read again. (FACTS on rename: it *succeeds* onto an empty folder,
    therefore no process ever creates the target.) If the file system does not show the winner yet, it is read again.
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
