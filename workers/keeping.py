"""Keeps what a failed attempt left in its folder, within bounds, so that a person can look at it."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.records import OutputFile
from pipeline_queue.contract.wording import counted, size_text
from pipeline_queue.storage.layout import attempt_number
from pipeline_queue.storage.patience import repeat_until_done
from pipeline_queue.storage.run_store import TooLargeError
from pipeline_queue.storage.sparse_files import taken_bytes
from workers.context import WorkerContext
from workers.job import Attempt
from workers.outputs import Found, Workspace, find_outputs

logger = logging.getLogger(__name__)

MAX_FILES = 10_000
MIN_FREE_BYTES = 256 * 1024 * 1024
SHARE_OF_FREE = 10
"""Kept is at most one of so many parts of what is free above `MIN_FREE_BYTES`."""

_PARTS_AT_ONCE = 10_000
"""What takes less than such a part of all that may be kept is left to the next round of the cleaner."""


def keep_files(worker: WorkerContext, attempt: Attempt, workspace: Workspace) -> Attempt:
    """The attempt with what was kept of it, in the folder `kept` beside its log, and with notes on what was not.

    Never raises for files that cannot be kept: the step has failed already, and that is to be recorded.
    """
    notes: tuple[str, ...] = ()
    try:
        found = find_outputs(workspace, ())
        worker.workspaces.note_changes(attempt.uid, found.changes)
        limit_bytes, why = _limit(worker)
        chosen, size_bytes, left_out = _newest_within(workspace, found, limit_bytes)
        notes = found.notes
        kept: tuple[OutputFile, ...] = ()
        if attempt.job.plan.step.keep == "on_failure" and chosen.outputs:
            attempt.check_lease()
            # First, so that they are found when they are old even if this worker is killed meanwhile.
            worker.storage.note_kept(attempt.slot, datetime.now(UTC).date(), size_bytes)
            attempt.slot.put_kept(workspace.folder, chosen.outputs)
            kept = chosen.outputs
            _drop_earlier(attempt)
            if size_bytes * _PARTS_AT_ONCE >= worker.keep_total_bytes:
                with suppress(OSError, StorageError):  # the cleaner tries again
                    worker.storage.remove_kept_above(worker.keep_total_bytes)
        if attempt.job.plan.step.keep == "on_failure" and left_out:
            notes = (*notes, f"not kept of what it left: {counted(left_out, 'file')} ({why})")
    except (OSError, StorageError, TooLargeError) as error:
        logger.warning("not kept run=%s step=%s: %s", attempt.job.run, attempt.job.step, error)
        attempt.slot.drop_kept()
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        kept, notes = (), (*notes, f"what it left could not be kept: {why}")
    record = attempt.record.model_copy(update={"kept": kept, "notes": (*attempt.record.notes, *notes)})
    return replace(attempt, record=record)


def _limit(worker: WorkerContext) -> tuple[int, str]:
    """How many bytes may be kept, and why not more: runs that succeed need the room that is left.

    Raises OSError.
    """
    free = repeat_until_done(worker.storage.room).free_bytes
    spare = max(0, free - MIN_FREE_BYTES) // SHARE_OF_FREE
    limit_bytes = min(worker.keep_limit_bytes, worker.keep_total_bytes)
    if spare < limit_bytes:
        return spare, f"the storage has only {size_text(free)} free"
    return (
        limit_bytes,
        f"they are more than {size_text(limit_bytes)} or {MAX_FILES:,} files",
    )


def _newest_within(workspace: Workspace, found: Found, limit_bytes: int) -> tuple[Found, int, int]:
    """Of what was found, the newest files whose sizes add up to at most so many bytes; their size, and how many not."""
    sized = []
    for file in found.outputs:
        status = (workspace.folder / file.path).lstat()
        sized.append((status.st_mtime_ns, taken_bytes(status), file))
    chosen: set[str] = set()
    used = 0
    for _, size, file in sorted(sized, key=lambda one: -one[0]):
        if used + size <= limit_bytes and len(chosen) < MAX_FILES:
            used += size
            chosen.add(file.path)
    outputs = tuple(file for file in found.outputs if file.path in chosen)
    return replace(found, outputs=outputs), used, len(found.outputs) - len(outputs)


def _drop_earlier(attempt: Attempt) -> None:
    """The last attempt's files are what is looked at; those of earlier ones go."""
    paths = attempt.job.paths
    for name in paths.names():
        number = attempt_number(attempt.job.step, name)
        if number is not None and number < attempt.lease.attempt:
            paths.drop_kept(name)
