"""One step of one run, ready to be attempted, and one try at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.identity import RunId
from pipeline_queue.contract.ledger import Lease
from pipeline_queue.contract.messages import StepMessage
from pipeline_queue.contract.records import StepRecord
from pipeline_queue.contract.storage import RunPaths
from pipeline_queue.planner import StepPlan, plan_step, step_named
from pipeline_queue.sweep import Sweep
from workers.context import WorkerContext
from workers.lease import Held


class LeaseLostError(Exception):
    """The lease ran out in mid-attempt: nothing may be written any more."""


@dataclass(frozen=True, slots=True)
class Job:
    """One step of one run; `names` is what lay in the run's folder when the message came."""

    run: RunId
    sweep: Sweep
    plan: StepPlan
    paths: RunPaths
    names: frozenset[str]

    @property
    def step(self) -> str:
        return self.plan.step.name

    @property
    def is_last(self) -> bool:
        return self.sweep.pipeline.steps[-1].name == self.step

    def earlier(self) -> list[Path]:
        """The published folders of the steps before this one, in order."""
        names = [step.name for step in self.sweep.pipeline.steps]
        return [self.paths.step(name) for name in names[: names.index(self.step)]]

    def attempts_made(self) -> int:
        """How many attempts the storage knows of."""
        latest = self.paths.latest_attempt(self.step, self.names)
        return int(latest.name.removeprefix(f"{self.step}.attempt-").partition("-")[0]) if latest else 0


@dataclass(frozen=True, slots=True)
class Try:
    """A job with its lease, and the folder and record that this attempt writes."""

    job: Job
    lease: Lease
    held: Held
    uid: str
    folder: Path
    record: StepRecord

    def check_lease(self) -> None:
        """Raises LeaseLostError: no lease, no write."""
        if not self.held.is_valid():
            raise LeaseLostError


def job_of(worker: WorkerContext, message: StepMessage) -> Job:
    """Raises InputError for a run or step that does not exist."""
    sweep = worker.sweeps.get(message.run.sweep)
    step = step_named(sweep.pipeline, message.step)
    paths = sweep.paths(worker.storage, message.run)
    return Job(message.run, sweep, plan_step(step, message.run, message.parameters), paths, paths.names())
