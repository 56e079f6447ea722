"""A pipeline file and values -> everything a submission needs, checked, with nothing written yet."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline_queue.contract.errors import InputError, SnapshotError, StorageError
from pipeline_queue.contract.ids import RunId, named_sweep_id, new_sweep_id
from pipeline_queue.contract.records import SweepRecord
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.sweep import BuiltSpace
from pipeline_queue.model.parameters import Given, resolve_values
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.model.sweep_settings import SweepSettings
from pipeline_queue.planning.inputs import sources_digest, unmatched
from pipeline_queue.planning.planner import check_sizes
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.space import Points, Space
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.snapshot import IGNORE_FILE, Snapshot, take_snapshot
from pipeline_queue.submitting.stored_snapshot import StoredSnapshot

_MAX_NAMES_TRIED = 10
_MAX_SIZED = 1000


@dataclass(frozen=True, slots=True)
class Submission:
    """Close it by closing `snapshot`. `submitted_by`: empty for this process's user."""

    loaded: LoadedPipeline
    space: Space
    snapshot: Snapshot | StoredSnapshot
    settings: SweepSettings
    name: str = ""
    submitted_by: str = ""

    def commit(self, storage: RunStore, note: Callable[[str], None] = lambda _: None) -> Sweep:
        """Writes the snapshot and then `sweep.json`, which makes it exist. Raises StorageError.

        `note` is told its name just before.
        """
        self.snapshot.store(storage)
        try:
            if self.name:
                return self._commit_named(storage, note)
            for _ in range(_MAX_NAMES_TRIED):
                record = self._record(new_sweep_id(self.loaded.pipeline.name))
                note(record.id)
                if storage.commit_sweep(record, self.loaded.text.encode()):
                    return Sweep(record, self.loaded.pipeline, self.space, self.settings)
        except OSError as error:
            raise StorageError(f"the submission cannot be written to {storage.where()}: {error.strerror}") from error
        raise StorageError(
            f"found no free name for a sweep of '{self.loaded.pipeline.name}' in {storage.where()}; try again"
        )

    def notes(self) -> list[str]:
        """What whoever submits this should know beforehand."""
        note = self.snapshot.size_note()
        return [note] if note and not all(step.sources for step in self.loaded.pipeline.steps) else []

    def _commit_named(self, storage: RunStore, note: Callable[[str], None]) -> Sweep:
        """Finds the sweep of this name if it is the same one. Raises InputError when it is another."""
        record = self._record(named_sweep_id(self.loaded.pipeline.name, self.name))
        note(record.id)
        if storage.commit_sweep(record, self.loaded.text.encode(), may_exist=True):
            return Sweep(record, self.loaded.pipeline, self.space, self.settings)
        known = storage.read_sweep(record.id)
        record = SweepRecord.model_validate_json(record.model_dump_json())
        if (known.pipeline, known.snapshot, known.space) != (record.pipeline, record.snapshot, record.space):
            raise InputError(
                f"a sweep named '{self.name}' was accepted with another pipeline, folder or values ({record.id}); "
                "choose another name"
            )
        return Sweep.read(storage, record.id)

    def _record(self, sweep: str) -> SweepRecord:
        return SweepRecord(
            id=sweep,
            pipeline=self.loaded.pipeline.as_json(),
            snapshot=self.snapshot.digest,
            sources=digests_of(self.loaded.pipeline, self.snapshot),
            space=self.space.as_json(),
            total=len(self.space),
            created_at=time.time(),
            submitted_by=self.submitted_by or submitter(),
            source=self.loaded.path.name,
            name=self.name,
            settings=asdict(self.settings),
        )


def prepare_run(loaded: LoadedPipeline, given: Mapping[str, Given], storage_root: Path | None) -> Submission:
    """A sweep of one point.

    Raises ValuesError for the values and SnapshotError for the folder; nothing was written then.
    """
    return _one_run(loaded, given, lambda: pack_folder(loaded, storage_root), "")


def run_of(
    loaded: LoadedPipeline, given: Mapping[str, Given], snapshot: StoredSnapshot, submitted_by: str
) -> Submission:
    """A sweep of one point, of a pipeline whose snapshot is stored. Raises ValuesError."""
    return _one_run(loaded, given, lambda: snapshot, submitted_by)


def _one_run(
    loaded: LoadedPipeline,
    given: Mapping[str, Given],
    packed: Callable[[], Snapshot | StoredSnapshot],
    submitted_by: str,
) -> Submission:
    """Checks the values before anything is packed."""
    point = resolve_values(loaded.pipeline, given, loaded.places)
    check_sizes(loaded.pipeline, RunId(new_sweep_id(loaded.pipeline.name), 0), point)
    return Submission(loaded, Points((point,)), packed(), SweepSettings(), "", submitted_by)


def prepare_sweep(loaded: LoadedPipeline, built: BuiltSpace, name: str, storage_root: Path | None) -> Submission:
    """A sweep of many points; its first ones are tried for size.

    Raises ValuesError for them and SnapshotError for the folder; nothing was written then.
    """
    _check_first_points(loaded, built)
    return Submission(loaded, built.space, pack_folder(loaded, storage_root), built.settings, name)


def sweep_of(
    loaded: LoadedPipeline, built: BuiltSpace, name: str, snapshot: StoredSnapshot, submitted_by: str
) -> Submission:
    """A sweep of many points, of a pipeline whose snapshot is stored. Raises ValuesError."""
    _check_first_points(loaded, built)
    return Submission(loaded, built.space, snapshot, built.settings, name, submitted_by)


def _check_first_points(loaded: LoadedPipeline, built: BuiltSpace) -> None:
    run = RunId(new_sweep_id(loaded.pipeline.name), 0)
    for index in range(min(len(built.space), _MAX_SIZED)):
        check_sizes(loaded.pipeline, run, built.space[index])


def pack_folder(loaded: LoadedPipeline, storage_root: Path | None) -> Snapshot:
    """Raises SnapshotError."""
    snapshot = take_snapshot(loaded.folder, storage_root, loaded.pipeline.links)
    for step in loaded.pipeline.steps:
        missing = unmatched(step, [*snapshot.contents, *loaded.pipeline.links])
        if missing:
            snapshot.tar.close()
            raise SnapshotError(
                f"{loaded.path}: step {step.name}: nothing in the pipeline's folder matches its source "
                f"'{missing[0][:100]}' (steps do not get what {IGNORE_FILE} names)"
            )
    return snapshot


def digests_of(pipeline: Pipeline, snapshot: Snapshot | StoredSnapshot) -> dict[str, str]:
    """Step -> the digest of what it sees of the snapshot, for the steps that do not see all of it."""
    if isinstance(snapshot, StoredSnapshot):
        return dict(snapshot.sources)
    return {step.name: sources_digest(step, snapshot.contents) for step in pipeline.steps if step.sources}


def submitter() -> str:
    """The user of this process and its machine, as records name them."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()
