"""Runs a run's pipeline again with other values: from its snapshot, so the pipeline's folder is not needed."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.model.parameters import Given
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.submitted_environment import EnvironmentFolder
from pipeline_queue.submitting.starting import accept
from pipeline_queue.submitting.stored_snapshot import StoredSnapshot, loaded_from
from pipeline_queue.submitting.submission import run_of


def run_again(
    run_index: RunIndex,
    storage: RunStore,
    sweep: Sweep,
    given: Mapping[str, Given],
    submitted_by: str,
    environments: EnvironmentFolder | None,
) -> RunId:
    """Accepts and enqueues a single run of the sweep's pipeline and snapshot; returns its id.

    The embedded service starts its steps with the environment that the sweep was submitted with.
    Raises ValuesError with every problem of the values, BrokerError, StorageError, and InputError when the snapshot is
    gone.
    """
    record = sweep.record
    loaded = loaded_from(sweep.pipeline, record.source, storage.pipeline_text(record).decode(errors="replace"))
    submission = run_of(loaded, given, StoredSnapshot(record.snapshot, record.sources), submitted_by)
    environment = environments.read(record.id) if environments else None
    accepted = accept(run_index, storage, submission, environments if environment else None, print_nothing, environment)
    return RunId(accepted.record.id, 0)


def print_nothing(note: str) -> None:
    """Nobody reads notes here: they are about sweeps with a name."""
