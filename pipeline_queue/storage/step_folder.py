"""Where one step is published: read, staged from and linked to, never changed."""

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
    """The folder of a published step: of one run, or shared by several. It exists once the step is published."""

    folder: Path

    def where(self, name: str = "") -> str:
        """For people: where the step's files lie, or the output of that name."""
        return str(self.folder / OUTPUTS / name if name else self.folder)

    def is_published(self) -> bool:
        """Raises OSError, StorageError."""
        return is_there(self.folder)

    def record(self) -> StepRecord | None:
        """The manifest, None while the step is not published. Raises StorageError when it is damaged."""
        return read_step(self.folder)

    def published_record(self) -> StepRecord:
        """The manifest of a step that is known to be published: waited for while this machine does not see it yet.

        Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear, StorageError when it is
        damaged.
        """
        return read_published_step(self.folder)

    def fetch(self, name: str, target: Path) -> FileStamp | None:
        """Copies a file, link or folder (without its content) of the outputs to `target`; the stamp of the copy.

        Raises OSError, StorageError.
        """
        source = self.folder / OUTPUTS / name
        is_repeated = False

        def copy() -> FileStamp | None:
            nonlocal is_repeated
            if is_repeated and not target.is_dir():
                target.unlink(missing_ok=True)  # half of it
            is_repeated = True
            return copy_entry(source, target)

        return read_awaited(source, copy)


def folder_of_step(step: StoredStep) -> Path:
    """Steps are of the store that made them."""
    assert isinstance(step, StepFolder)
    return step.folder


def link_step(target: Path, link: Path) -> None:
    """Makes a shared step a run's own, by a relative link; nothing happens when it is there. Raises OSError."""
    with contextlib.suppress(PermissionError):  # another user's
        # In use again: whoever removes unused ones leaves it alone.
        read_awaited(target, lambda: os.utime(target))
    make_folder(link.parent, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        make_link(link, os.path.relpath(target, link.parent))


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
