"""Keeps what a failed attempt left in its folder, within bounds, so that a person can look at it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

from pipeline_queue.contract.records import OutputFile
from pipeline_queue.contract.storage import KEPT, attempt_number
from workers.context import WorkerContext
from workers.job import Try
from workers.outputs import Found, Workspace, find_outputs, move_outputs
from workers.trees import remove_tree

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 512


def keep_files(worker: WorkerContext, this: Try, workspace: Workspace) -> Try:
    """The attempt with what was kept of it, in the folder `kept` beside its log, and with notes on what was not.

    Never raises for files that cannot be kept: the step has failed already, and that is to be recorded.
    """
    try:
        found = find_outputs(workspace, ())
        chosen, left_out = _newest_within(workspace, found, worker.keep_limit_bytes)
        notes = found.notes
        kept: tuple[OutputFile, ...] = ()
        if this.job.plan.step.keep == "on_failure" and chosen.outputs:
            this.check_lease()
            move_outputs(workspace, chosen, this.folder / KEPT)
            worker.storage.note_kept(this.folder, datetime.now(UTC).date())
            kept = chosen.outputs
            if left_out:
                limit = f"{worker.keep_limit_bytes:,} bytes"
                notes = (*notes, f"{left_out:,} files that it left were not kept: they are more than {limit}")
            _drop_earlier(this)
    except OSError as error:
        logger.warning("not kept run=%s step=%s: %s", this.job.run, this.job.step, error)
        remove_tree(this.folder / KEPT)
        kept, notes = (), (f"what it left could not be kept: {error.strerror or error}",)
    record = this.record.model_copy(update={"kept": kept, "notes": (*this.record.notes, *notes)})
    return replace(this, record=record)


def _newest_within(workspace: Workspace, found: Found, limit_bytes: int) -> tuple[Found, int]:
    """Of what was found, the files written last that take up to so many bytes together; how many were left out."""
    sized = []
    for file in found.outputs:
        status = (workspace.folder / file.path).lstat()
        sized.append((status.st_mtime_ns, min(status.st_blocks * _BLOCK_BYTES, status.st_size), file))
    chosen, used = set(), 0
    for _, size, file in sorted(sized, key=lambda one: -one[0]):
        if used + size <= limit_bytes:
            used += size
            chosen.add(file.path)
    outputs = tuple(file for file in found.outputs if file.path in chosen)
    return replace(found, outputs=outputs), len(found.outputs) - len(outputs)


def _drop_earlier(this: Try) -> None:
    """The last attempt's files are what is looked at; those of earlier ones go."""
    paths = this.job.paths
    for name in paths.names():
        number = attempt_number(this.job.step, name)
        if number is not None and number < this.lease.attempt:
            remove_tree(paths.folder / name / KEPT)
