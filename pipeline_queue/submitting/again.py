"""Runs a run's pipeline again with other values: from its snapshot, so the pipeline's folder is not needed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict

from pipeline_queue.contract.errors import InputError, StorageError
from pipeline_queue.contract.ids import RunId, new_sweep_id
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.model.parameters import Given, resolve_values
from pipeline_queue.model.sweep_settings import SweepSettings
from pipeline_queue.planning.planner import check_sizes
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.space import Points
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.submitted_environment import EnvironmentFolder
from pipeline_queue.submitting.starting import start

_MAX_NAMES_TRIED = 10


def run_again(
    run_index: RunIndex,
    storage: RunStore,
    sweep: Sweep,
    given: Mapping[str, Given],
    submitted_by: str,
    environments: EnvironmentFolder | None,
) -> RunId:
    """Accepts and enqueues a single run of the sweep's pipeline and snapshot; returns its id.

    Raises ValuesError with every problem of the values, BrokerError, StorageError, and InputError when the snapshot is
    gone.
    """
    point = resolve_values(sweep.pipeline, given, {})
    check_sizes(sweep.pipeline, RunId(new_sweep_id(sweep.pipeline.name), 0), point)
    space = Points((point,))
    _keep_snapshot(storage, sweep)
    for _ in range(_MAX_NAMES_TRIED):
        record = sweep.record.model_copy(
            update={
                "id": new_sweep_id(sweep.pipeline.name),
                "space": space.as_json(),
                "total": 1,
                "created_at": time.time(),
                "submitted_by": submitted_by,
                "name": "",
                "settings": asdict(SweepSettings()),
            }
        )
        run_index.sweeps.note_submission(record.id, run_index.time())
        if environments and (known := environments.read(sweep.record.id)):
            environments.write(record.id, known)
        if storage.commit_sweep(record, storage.pipeline_text(sweep.record)):
            start(run_index, storage, Sweep(record, sweep.pipeline, space, SweepSettings()), is_new=True)
            run_index.sweeps.forget_submission(record.id)
            return RunId(record.id, 0)
    raise StorageError(f"found no free name for a run of '{sweep.pipeline.name}' in {storage.where()}; try again")


def _keep_snapshot(storage: RunStore, sweep: Sweep) -> None:
    """Raises InputError when it is gone."""
    if not storage.keep_snapshot(sweep.record.snapshot):
        raise InputError(f"the snapshot of {sweep.record.id} was removed; submit its pipeline file instead")
