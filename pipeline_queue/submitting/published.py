"""Publishes a pipeline under a name, and starts runs and sweeps of what is stored, without its folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_queue.contract.errors import InputError, Place
from pipeline_queue.contract.ids import RunId, named_sweep_id
from pipeline_queue.contract.records import PublishedPipeline
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.model.parameters import Given
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.submitted_environment import EnvironmentFolder
from pipeline_queue.submitting.starting import accept
from pipeline_queue.submitting.stored_snapshot import StoredSnapshot, loaded_from
from pipeline_queue.submitting.submission import digests_of, pack_folder, run_of, submitter, sweep_of

_TEXTS = ("priority", "on_failure", "unused")
_NUMBERS = ("random", "seed", "repeat", "max_runs", "max_parallel", "max_failures")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks of a published pipeline: one run of `values`, or with `is_sweep` an axis for each list."""

    values: Mapping[str, Any]
    is_sweep: bool = False
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Wanted:
        """Of a JSON object. Raises InputError for what it does not know or of another type."""
        unknown = sorted(body.keys() - {"values", "sweep", "name", *_TEXTS, *_NUMBERS})
        if unknown:
            raise InputError(f"unknown key '{unknown[0][:100]}'")
        is_sweep = "sweep" in body
        values = body.get("sweep" if is_sweep else "values", {})
        if not isinstance(values, dict) or (is_sweep and "values" in body):
            raise InputError("give either values or sweep, an object of parameters")
        settings = {name: body[name] for name in (*_TEXTS, *_NUMBERS) if body.get(name) is not None}
        for name, value in settings.items():
            if type(value) is not (str if name in _TEXTS else int):
                raise InputError(f"{name} must be {'a text' if name in _TEXTS else 'a whole number'}")
        name = body.get("name", "")
        if not isinstance(name, str) or (not is_sweep and (settings or name)):
            raise InputError("name must be a text; it and the settings of a sweep need sweep, not values")
        return cls(values, is_sweep, name, settings)


def publish(storage: RunStore, loaded: LoadedPipeline, name: str, storage_root: Path) -> PublishedPipeline:
    """Stores the pipeline and its folder under the name, or replaces what has it.

    Raises SnapshotError, StorageError, and InputError for a wrong name.
    """
    with pack_folder(loaded, storage_root) as snapshot:
        snapshot.store(storage)
        record = PublishedPipeline(
            name=name,
            pipeline=loaded.pipeline.as_json(),
            snapshot=snapshot.digest,
            sources=digests_of(loaded.pipeline, snapshot),
            source=loaded.path.name,
            text=loaded.text,
            published_at=time.time(),
            published_by=submitter(),
        )
    storage.publish_pipeline(record)
    return record


def start_published(
    run_index: RunIndex, storage: RunStore, record: PublishedPipeline, wanted: Wanted, submitted_by: str
) -> tuple[str, bool]:
    """Accepts a run or sweep of the published pipeline. Returns its id, and whether it is new: a sweep with a name may
    have been accepted before.

    Raises ValuesError with every problem of the values, BrokerError, StorageError, and InputError when the name belongs
    to another sweep or the snapshot is gone.
    """
    pipeline = Pipeline.from_json(record.pipeline)
    loaded = loaded_from(pipeline, record.source, record.text)
    snapshot = StoredSnapshot(record.snapshot, record.sources)
    given = {name: Given(value, Place(name)) for name, value in wanted.values.items()}
    if not wanted.is_sweep:
        accepted = accept(run_index, storage, run_of(loaded, given, snapshot, submitted_by), None)
        return f"{accepted.record.id}.0", True
    built = build_space(loaded, SweepRequest(given=given, **wanted.settings))
    is_known = bool(wanted.name) and storage.has_sweep(named_sweep_id(pipeline.name, wanted.name))
    submission = sweep_of(loaded, built, wanted.name, snapshot, submitted_by)
    accepted = accept(run_index, storage, submission, None)
    return accepted.record.id, not is_known


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
    accepted = accept(run_index, storage, submission, environments if environment else None, environment=environment)
    return RunId(accepted.record.id, 0)
