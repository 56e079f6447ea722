"""One attempt at one step: claim, stage, execute, publish or fail, record."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import replace

from pipeline_queue.contract.errors import StorageError, SupervisorError
from pipeline_queue.contract.ledger import Lease, Refusal
from pipeline_queue.contract.messages import StepMessage
from pipeline_queue.contract.records import StepRecord
from pipeline_queue.contract.storage import CANCELLED, RUN_END
from workers.context import WorkerContext
from workers.executor import ExecutionResult
from workers.job import Job, LeaseLostError, Try, job_of
from workers.launch import command_of, execute
from workers.lease import Held
from workers.outcome import Failure, Outcome, failure_of
from workers.recording import (
    publish_attempt,
    record_cancelled,
    record_failure,
    record_given_up,
    record_published,
)
from workers.supervisor.frames import lease_clock
from workers.workspace import find_outputs

logger = logging.getLogger(__name__)


def attempt(worker: WorkerContext, message: StepMessage) -> Outcome:
    """Executes one step if it is this worker's to execute, and says what becomes of the Celery task.

    Raises InputError for a run or step that does not exist, BrokerError and StorageError when those are gone.
    """
    job = job_of(worker, message)
    settled = _settled(worker, job)
    if settled:
        return settled
    uid = secrets.token_hex(6)
    claimed_at = lease_clock()
    lease = worker.ledger.claim(job.run, job.step, uid, worker.name, job.attempts_made())
    if isinstance(lease, Refusal):
        return _refused(worker, job, lease)
    with worker.leases.keep(uid, lease, claimed_at) as held:
        try:
            return _execute_and_record(worker, job, lease, held, uid)
        except LeaseLostError:
            return Outcome("dropped", "the lease was lost; another worker takes over")
        finally:
            worker.workspaces.discard(uid)


def _settled(worker: WorkerContext, job: Job) -> Outcome | None:
    """What the storage has decided already, None when the step is still to be done."""
    if RUN_END in job.names:
        return Outcome("dropped", "the run has ended")
    if job.step in job.names:
        return record_published(worker, job)
    if CANCELLED in job.names:
        return record_cancelled(worker, job)
    return None


def _refused(worker: WorkerContext, job: Job, refusal: Refusal) -> Outcome:
    match refusal.reason:
        case "published":
            return record_published(worker, job)
        case "cancelled":
            return record_cancelled(worker, job)
        case "exhausted":
            deaths, _, where = refusal.detail.partition(" ")
            return record_given_up(worker, job, deaths, where)
    return Outcome("dropped", f"{refusal.reason} {refusal.detail}".strip())


def _execute_and_record(worker: WorkerContext, job: Job, lease: Lease, held: Held, uid: str) -> Outcome:
    folder = job.paths.attempt(job.step, lease.attempt, uid)
    started = StepRecord(
        run=str(job.run),
        step=job.step,
        attempt=lease.attempt,
        uid=uid,
        state="running",
        argv=command_of(worker, job.plan),
        worker=worker.name,
        started_at=time.time(),
    )
    this = Try(job, lease, held, uid, folder, started)
    try:
        folder.mkdir(parents=True)
        workspace = worker.workspaces.stage(uid, job.sweep.record.snapshot, job.earlier())
        result = execute(worker, this, workspace)
        found = find_outputs(workspace, job.plan.step.outputs) if result.exit_code == 0 else None
        failure = failure_of(job.plan.step, result, found)
        ended = _ended(this, result, failure)
        if failure is None and found is not None:
            return publish_attempt(worker, ended, workspace, found)
        if held.cancelled and failure is not None:
            failure = replace(failure, cause="cancelled", message=f"step {job.step} was cancelled")
        return record_failure(worker, ended, failure or Failure("lost", "the step vanished", True))
    except SupervisorError as error:
        lost = not worker.executor.is_closing()
        failure = Failure("lost", f"step {job.step} was ended: {error}", infrastructure=True, is_death=lost)
        return record_failure(worker, this, failure)
    except (StorageError, OSError) as error:
        logger.warning("storage failed run=%s step=%s: %s", job.run, job.step, error)
        return record_failure(worker, this, Failure("storage", f"step {job.step}: the storage failed: {error}", True))


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
