"""One step of one run, ready to be attempted, and one try at it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline_queue.broker.message import Message
from pipeline_queue.contract.errors import MessageError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import RunRecord, StepRecord
from pipeline_queue.index.keys import EVERY_SWEEP
from pipeline_queue.index.leases import Lease
from pipeline_queue.model.pipeline import Step
from pipeline_queue.planning.planner import StepPlan, plan_step, step_named
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.space import Point
from pipeline_queue.storage.layout import attempt_number
from pipeline_queue.storage.run_store import AttemptSlot, StoredRun, StoredStep
from workers.agents.lease_keeper import Held
from workers.context import WorkerContext
from workers.outcome import Failure
from workers.outputs import Found, Workspace
from workers.step_base import Base
from workers.supervisor.protocol import ExecutionResult

_NAMES_SHOWN = 5
_SHOWN_CHARACTERS = 64


class LeaseLostError(Exception):
    """The lease ran out in mid-attempt: nothing may be written any more."""


@dataclass(frozen=True, slots=True)
class SharedStep:
    """A step that several runs may have in common: of the sweep `scope`, or of all; `published` in the store."""

    name: str
    scope: str
    published: StoredStep


@dataclass(frozen=True, slots=True)
class Job:
    """One step of one run; `names` is what lay in the run's folder when the `message` came."""

    message: Message
    run: RunId
    sweep: Sweep
    plan: StepPlan
    paths: StoredRun
    names: frozenset[str]
    shared: SharedStep | None = None

    @property
    def target(self) -> StoredStep:
        """Where this step is published."""
        return self.shared.published if self.shared else self.paths.step(self.step)

    @property
    def step(self) -> str:
        return self.plan.step.name

    def published(self) -> tuple[str, ...]:
        """The steps of the run that are published once this one is, in order."""
        return self.sweep.pipeline.published({*self.names, self.step})

    def ends_run(self) -> bool:
        """Whether the run is done once this step is published."""
        return self.sweep.pipeline.is_complete(self.published())

    def earlier(self) -> list[StoredStep]:
        """Of the steps before this one, in order."""
        return [self.paths.step(name) for name in self.sweep.pipeline.before(self.step)]

    def missing(self) -> str | None:
        """The first of the steps before this one that is not published, None when all are."""
        return next((name for name in self.sweep.pipeline.before(self.step) if name not in self.names), None)

    def attempts_made(self) -> int:
        """How many attempts the storage knows of."""
        return max((attempt_number(self.step, name) or 0 for name in self.names), default=0)

    def failures_made(self) -> int:
        """How many failures of its own the storage knows of since the step was begun, or last retried by a person."""
        attempts = sorted((number, name) for name in self.names if (number := attempt_number(self.step, name)))
        failures = 0
        for _, name in reversed(attempts):
            record = self.paths.attempt_record(name)
            if record is not None and record.state != "retrying":
                break
            failures += record is not None and record.cause not in ("lost", "storage") and not record.is_handed_on
        return failures


@dataclass(frozen=True, slots=True)
class Publication:
    """That the step is published: by this attempt or by another; `end` is that of the run, if it ended with it."""

    is_own: bool
    end: RunRecord | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A job with its lease, and the slot and record that this attempt writes; stages add what they found.

    It is decided once it has a `failure` or a `publication`. `begun_at`: when its process was started, by
    `time.monotonic()`.
    """

    job: Job
    lease: Lease
    held: Held
    uid: str
    slot: AttemptSlot
    record: StepRecord
    base: Base
    workspace: Workspace | None = None
    begun_at: float = 0.0
    result: ExecutionResult | None = None
    found: Found | None = None
    failure: Failure | None = None
    publication: Publication | None = None

    def check_lease(self) -> None:
        """Raises LeaseLostError: no lease, no write."""
        if not self.held.is_valid():
            raise LeaseLostError

    def failures_before(self) -> int:
        """How many attempts have used up `retries`; a server that was emptied has forgotten them."""
        return max(self.lease.failures, self.job.failures_made() if self.lease.attempt > 1 else 0)


def job_of(worker: WorkerContext, message: Message) -> Job:
    """Raises InputError for a run or step that does not exist, MessageError for values that were not accepted."""
    try:
        sweep = worker.sweeps.get(message.run.sweep)
        step = step_named(sweep.pipeline, message.step)
        _check_parameters(message, sweep.parameters(message.run))
        paths = sweep.paths(worker.storage, message.run)
        plan = plan_step(step, message.run, message.parameters)
        shared = _shared(worker, sweep, step, message.run)
        return Job(message, message.run, sweep, plan, paths, paths.names(), shared)
    except OSError as error:
        raise StorageError(f"run {message.run} cannot be read from the storage: {error}") from error


def _shared(worker: WorkerContext, sweep: Sweep, step: Step, run: RunId) -> SharedStep | None:
    identity = sweep.shared_step_key(step.name, run)
    if identity is None:
        return None
    name = f"{step.name}-{identity}"
    if step.reuse == "always":
        return SharedStep(name, EVERY_SWEEP, worker.storage.reused_step(name))
    return SharedStep(name, run.sweep, worker.storage.shared_step(run.sweep, name))


def _check_parameters(message: Message, accepted: Point) -> None:
    """The values of a message are those of its run, to the type: others would be published under its name."""
    wrong = message.first.message.differing(accepted)
    if wrong:
        shown = ", ".join(name[:_SHOWN_CHARACTERS] for name in wrong[:_NAMES_SHOWN])
        raise MessageError(
            f"the message for run {message.run} does not carry the values that were accepted (look at {shown}); "
            "submit a new run to use others"
        )
