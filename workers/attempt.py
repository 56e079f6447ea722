"""One attempt at one step: claim, stage, execute, publish, record.

Promises kept here: outputs appear whole or not at all and from one attempt (the rename of `publish`); a worker whose
lease is gone writes nothing; what happened is on the storage before the ledger hears of it.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_queue.contract.errors import StorageError, SupervisorError
from pipeline_queue.contract.identity import RunId
from pipeline_queue.contract.ledger import Ending, Lease, Refusal
from pipeline_queue.contract.messages import StepMessage
from pipeline_queue.contract.records import RunRecord, StepRecord
from pipeline_queue.contract.settings import RESERVED_PREFIX
from pipeline_queue.contract.states import RunState
from pipeline_queue.contract.storage import (
    CANCELLED,
    LOG,
    OUTPUTS,
    RUN_END,
    STEP_RECORD,
    RunPaths,
    create_exclusive,
    publish,
)
from pipeline_queue.planner import StepPlan, plan_step, retry_delay_seconds, step_named
from pipeline_queue.report import StepFiles, end_of_run, find_steps
from pipeline_queue.sweep import Sweep
from workers.context import WorkerContext
from workers.executor import ExecutionRequest, ExecutionResult
from workers.lease import TRUSTED_SECONDS, Held
from workers.outcome import Failure, Outcome, failure_of, read_metrics, with_tail
from workers.workspace import Found, Workspace, find_outputs, move_outputs

logger = logging.getLogger(__name__)

_INFRASTRUCTURE_DELAY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """One step of one run, ready to be attempted; `names` is what lay in the run's folder."""

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


@dataclass(frozen=True, slots=True)
class Try:
    """A job with its lease and the folder that its attempt writes to."""

    job: Job
    lease: Lease
    held: Held
    uid: str
    folder: Path
    record: StepRecord


class LeaseLostError(Exception):
    """The lease ran out in mid-attempt: nothing may be written any more."""


def attempt(worker: WorkerContext, message: StepMessage) -> Outcome:
    """Executes one step if it is this worker's to execute, and says what becomes of the Celery task.

    Raises InputError for a run or step that does not exist, BrokerError and StorageError when those are gone.
    """
    job = _job(worker, message)
    settled = _settled(worker, job)
    if settled:
        return settled
    uid = secrets.token_hex(6)
    claimed_at = time.monotonic()
    lease = worker.ledger.claim(job.run, job.step, uid, worker.name, _attempts_made(job))
    if isinstance(lease, Refusal):
        return _refused(worker, job, lease)
    with worker.leases.keep(uid, lease, claimed_at) as held:
        try:
            return _execute_and_record(worker, job, lease, held, uid)
        except LeaseLostError:
            return Outcome("dropped", "the lease was lost; another worker takes over")
        finally:
            worker.workspaces.discard(uid)


def _job(worker: WorkerContext, message: StepMessage) -> Job:
    sweep = worker.sweeps.get(message.run.sweep)
    step = step_named(sweep.pipeline, message.step)
    paths = sweep.paths(worker.storage, message.run)
    plan = plan_step(step, message.run, message.parameters)
    return Job(message.run, sweep, plan, paths, paths.names())


def _settled(worker: WorkerContext, job: Job) -> Outcome | None:
    """What the storage has decided already, None when the step is still to be done."""
    if RUN_END in job.names:
        return Outcome("dropped", "the run has ended")
    if job.step in job.names:
        return _go_on_published(worker, job)
    if CANCELLED in job.names:
        return _end_cancelled(worker, job)
    return None


def _refused(worker: WorkerContext, job: Job, refusal: Refusal) -> Outcome:
    match refusal.reason:
        case "published":
            return _go_on_published(worker, job)
        case "cancelled":
            return _end_cancelled(worker, job)
        case "exhausted":
            deaths, _, where = refusal.detail.partition(" ")
            text = f"step {job.step} was given up: {deaths} times a worker was lost while it ran (last {where})"
            _end_run(worker, job, "failed", text, None)
            ending = Ending("failed", "failed", message=text)
            worker.ledger.record(Lease.decided(job.run, job.step), ending)
            return Outcome("failed", text)
    return Outcome("dropped", f"{refusal.reason} {refusal.detail}".strip())


def _go_on_published(worker: WorkerContext, job: Job) -> Outcome:
    if job.is_last:
        _end_run(worker, job, "succeeded", "", None)
    state: RunState = "succeeded" if job.is_last else "running"
    worker.ledger.record(Lease.decided(job.run, job.step), Ending("succeeded", state))
    return Outcome("go_on", "published before")


def _end_cancelled(worker: WorkerContext, job: Job) -> Outcome:
    _end_run(worker, job, "cancelled", "cancelled", None)
    worker.ledger.record(Lease.decided(job.run, job.step), Ending("cancelled", "cancelled", message="cancelled"))
    return Outcome("cancelled", "cancelled")


def _attempts_made(job: Job) -> int:
    latest = job.paths.latest_attempt(job.step, job.names)
    return int(latest.name.removeprefix(f"{job.step}.attempt-").partition("-")[0]) if latest else 0


def _execute_and_record(worker: WorkerContext, job: Job, lease: Lease, held: Held, uid: str) -> Outcome:
    folder = job.paths.attempt(job.step, lease.attempt, uid)
    started = StepRecord(
        run=str(job.run),
        step=job.step,
        attempt=lease.attempt,
        uid=uid,
        state="running",
        argv=_argv(worker, job.plan),
        worker=worker.name,
        started_at=time.time(),
    )
    this = Try(job, lease, held, uid, folder, started)
    try:
        folder.mkdir(parents=True)
        workspace = worker.workspaces.stage(uid, job.sweep.record.snapshot, _earlier(job))
        result = _execute(worker, this, workspace)
        found = find_outputs(workspace, job.plan.step.outputs) if result.exit_code == 0 else None
        failure = failure_of(job.plan.step, result, found)
        ended = _ended(this, result, failure)
        if failure is None and found is not None:
            return _publish(worker, ended, workspace, found)
        if held.cancelled and failure is not None:
            failure = replace(failure, cause="cancelled", message=f"step {job.step} was cancelled")
        return _fail(worker, ended, failure or Failure("lost", "the step vanished", True))
    except SupervisorError as error:
        return _fail(worker, this, Failure("lost", f"step {job.step} was ended: {error}", True))
    except (StorageError, OSError) as error:
        logger.warning("storage failed run=%s step=%s: %s", job.run, job.step, error)
        return _fail(worker, this, Failure("storage", f"step {job.step}: the storage failed: {error}", True))


def _earlier(job: Job) -> list[Path]:
    names = [step.name for step in job.sweep.pipeline.steps]
    return [job.paths.step(name) for name in names[: names.index(job.step)]]


def _execute(worker: WorkerContext, this: Try, workspace: Workspace) -> ExecutionResult:
    step = this.job.plan.step
    return worker.executor.run(
        ExecutionRequest(
            id=this.uid,
            argv=this.record.argv,
            cwd=str(workspace.folder),
            env=_environment(worker, this),
            log=str(this.folder / LOG),
            log_limit_bytes=worker.log_limit_bytes,
            timeout_seconds=step.timeout_seconds,
            grace_seconds=worker.grace_seconds,
            lease_seconds=max(0.1, this.held.trusted_until - time.monotonic()),
        )
    )


def _argv(worker: WorkerContext, plan: StepPlan) -> tuple[str, ...]:
    return (str(worker.python), *plan.argv) if plan.step.python else plan.argv


def _environment(worker: WorkerContext, this: Try) -> dict[str, str]:
    """The worker's environment without our settings (the broker's URL holds a password), and the step's own."""
    job = this.job
    inherited = {name: value for name, value in worker.environment.items() if not name.startswith(RESERVED_PREFIX)}
    path = f"{worker.python.parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    return {
        "PYTHONUNBUFFERED": "1",
        **inherited,
        "PATH": path,
        f"{RESERVED_PREFIX}SWEEP_ID": job.run.sweep,
        f"{RESERVED_PREFIX}RUN_ID": str(job.run),
        f"{RESERVED_PREFIX}RUN_INDEX": str(job.run.index),
        f"{RESERVED_PREFIX}STEP": job.step,
        f"{RESERVED_PREFIX}ATTEMPT": this.uid,
        **job.plan.env,
    }


def _ended(this: Try, result: ExecutionResult, failure: Failure | None) -> Try:
    record = this.record.model_copy(
        update={
            "ended_at": this.record.started_at + result.seconds,
            "seconds": round(result.seconds, 6),
            "exit_code": result.exit_code,
            "signal": result.signal,
            "state": "failed" if failure else "succeeded",
        }
    )
    return replace(this, record=record)


def _publish(worker: WorkerContext, this: Try, workspace: Workspace, found: Found) -> Outcome:
    job = this.job
    metrics = read_metrics(workspace.folder / "metrics.json") if found.has("metrics.json") else {}
    record = this.record.model_copy(
        update={"outputs": found.outputs, "deleted": found.deleted, "notes": found.notes, "metrics": metrics}
    )
    _check(this)
    move_outputs(workspace, found, this.folder / OUTPUTS)
    (this.folder / STEP_RECORD).write_bytes(record.model_dump_json().encode())
    _check(this)
    if not publish(this.folder, job.paths.step(job.step), this.uid):
        logger.info("publication lost run=%s step=%s attempt=%d", job.run, job.step, this.lease.attempt)
        return _go_on_published(worker, job)
    if job.is_last:
        _end_run(worker, job, "succeeded", "", StepFiles(job.step, job.step, True, record))
    ending = Ending("succeeded", "succeeded" if job.is_last else "running", record.seconds, record.exit_code)
    worker.ledger.record(this.lease, ending)
    logger.info("published run=%s step=%s attempt=%d files=%d", job.run, job.step, record.attempt, len(found.outputs))
    return Outcome("go_on", f"published {len(found.outputs)} outputs after {record.seconds:.3g} s")


def _fail(worker: WorkerContext, this: Try, failure: Failure) -> Outcome:
    job, lease = this.job, this.lease
    _check(this)
    retries = job.plan.step.retries
    cancelled = failure.cause == "cancelled"
    failures = 0 if failure.infrastructure or cancelled else 1
    again = failure.infrastructure or (not cancelled and lease.failures + failures <= retries)
    text = failure.message if cancelled else with_tail(failure.message, this.folder / LOG)
    state = "cancelled" if cancelled else "retrying" if again else "failed"
    record = this.record.model_copy(
        update={"state": state, "cause": failure.cause, "message": text, "ended_at": this.record.ended_at or time.time()}
    )
    _write_quietly(this.folder / STEP_RECORD, record)
    logger.info("%s run=%s step=%s attempt=%d: %s", state, job.run, job.step, lease.attempt, failure.message)
    ending = Ending(
        step_state=record.state,
        run_state="running" if again else "cancelled" if cancelled else "failed",
        seconds=record.seconds,
        exit_code=record.exit_code,
        message=text,
        failures=failures,
        deaths=1 if failure.infrastructure else 0,
        retry_seconds=_INFRASTRUCTURE_DELAY_SECONDS
        if failure.infrastructure
        else retry_delay_seconds(lease.failures + failures),
    )
    if not again:
        _end_run(worker, job, ending.run_state, text, StepFiles(job.step, this.folder.name, False, record))
    worker.ledger.record(lease, ending)
    if cancelled:
        return Outcome("cancelled", text)
    return Outcome("retry" if again else "failed", text)


def _end_run(worker: WorkerContext, job: Job, state: RunState, message: str, last: StepFiles | None) -> None:
    """Writes `run.json` unless it is there. `last` is this attempt's step, already known."""
    steps = [
        last if last and step.name == last.name else step
        for step in find_steps(job.sweep, job.paths, job.paths.names())
    ]
    record: RunRecord = end_of_run(job.sweep, job.run, steps, state, message)
    job.paths.folder.mkdir(parents=True, exist_ok=True)
    create_exclusive(job.paths.folder / RUN_END, record.model_dump_json().encode())


def _check(this: Try) -> None:
    if not this.held.is_valid():
        raise LeaseLostError


def _write_quietly(path: Path, record: StepRecord) -> None:
    try:
        path.write_bytes(record.model_dump_json().encode())
    except OSError as error:
        logger.warning("not written %s: %s", path, error)
