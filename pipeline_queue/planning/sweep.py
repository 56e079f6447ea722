"""An accepted submission, read back from its record: pipeline, space, snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import SweepRecord
from pipeline_queue.contract.wording import counted
from pipeline_queue.model.parameters import text_of
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.model.sweep_settings import SweepSettings
from pipeline_queue.planning.step_key import StepKey, shareable_steps, step_keys
from pipeline_queue.space import Point, Space, space_from_json
from pipeline_queue.storage.run_store import RunStore, StoredRun


@dataclass(frozen=True)
class Sweep:
    """What `sweep.json` says, as values."""

    record: SweepRecord
    pipeline: Pipeline
    space: Space
    settings: SweepSettings

    @classmethod
    def read(cls, storage: RunStore, sweep: str) -> Sweep:
        """Raises NotFoundError when there is no such sweep, StorageError when its record is damaged."""
        record = storage.read_sweep(sweep)
        try:
            settings = SweepSettings(**record.settings)
            return cls(record, Pipeline.from_json(record.pipeline), space_from_json(record.space), settings)
        except (ValueError, StorageError) as error:
            raise StorageError(
                f"{storage.where_sweep(sweep)} is damaged, or was written by another version of pipeline_queue"
            ) from error

    def run_id(self, index: int) -> RunId:
        """Raises NotFoundError when the sweep has no such run."""
        if not 0 <= index < len(self.space):
            raise NotFoundError(
                f"sweep '{self.record.id}' has {counted(len(self.space), 'run')}; there is no run {index}"
            )
        return RunId(self.record.id, index)

    def shared_step_key(self, step: str, run: RunId) -> str | None:
        """The identity of a step that other runs may share, None for one that is this run's alone."""
        return self.identity(step, run).digest if step in self._shareable else None

    def identity(self, step: str, run: RunId) -> StepKey:
        """Of one step of one run."""
        record = self.record
        every = step_keys(self.pipeline, run, self.space, record.snapshot, record.sources)
        return next(identity for name, identity in every if name == step)

    @cached_property
    def _shareable(self) -> frozenset[str]:
        """The same for every message of the sweep, and each of them asks."""
        return shareable_steps(self.pipeline, self.space)

    def failures_allowed(self) -> int | None:
        """How many runs may fail before no more are started; None: any number."""
        return (self.settings.max_failures or 0) if self.settings.on_failure == "stop" else None

    def parameters(self, run: RunId) -> Point:
        self.run_id(run.index)
        return self.space[run.index]

    def paths(self, storage: RunStore, run: RunId) -> StoredRun:
        return storage.run(run, self._label(self.parameters(run)), len(self.space))

    def _label(self, point: Point) -> dict[str, str]:
        """The parameters that are not at their defaults: what tells runs apart when browsing."""
        defaults = {parameter.name: parameter.default for parameter in self.pipeline.parameters}
        return {name: text_of(value) for name, value in point.items() if value != defaults.get(name)}
