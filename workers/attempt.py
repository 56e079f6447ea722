"""One attempt at one step, as stages over one value: claim, stage, execute, judge, publish, record.

Each stage returns the attempt with its own results added. Once a stage finds a failure, or that the step is published,
the later stages return the attempt unchanged, and `record` writes the result.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace

from pipeline_queue.broker.message import Message
from pipeline_queue.contract.errors import BrokerError, NotFoundError, StorageAwayError, StorageError, SupervisorError
from pipeline_queue.contract.records import StepRecord
from pipeline_queue.storage.patience import patient
from pipeline_queue.storage.run_store import TooLargeError
from workers.agents.lease_keeper import Held
from workers.blame import blame_interpreter, doubt_success, find_blame
from workers.claiming import Claim, claim
from workers.context import WorkerContext
from workers.job import Attempt, Job, LeaseLostError, Publication, job_of
from workers.keeping import keep_files
from workers.launch import command_of, complete_log, run_step
from workers.outcome import (
    Failure,
    Outcome,
    cancelled,
    failure_of,
    handed_back,
    left_to_others,
    missing_link,
    storage_failure,
    too_large,
)
from workers.outputs import find_outputs
from workers.recording import (
    CancelledError,
    check_going_on,
    hand_back,
    publish_outputs,
    record_failure,
    record_published,
    record_success,
    result_patience,
)
from workers.step_base import base_of
from workers.supervisor.protocol import ExecutionResult
from workers.thread_bounds import thread_bounds
from workers.workspace import DamagedError


def attempt_step(worker: WorkerContext, message: Message) -> Outcome:
    """Executes one step if this worker should execute it. Returns what the Celery task does next.

    Raises InputError for a run or step that does not exist, MessageError for values that are not the run's,
    BrokerError and StorageError when the broker or the storage is unreachable.
    """
    with patient(worker.disks.patience(lambda: _check_beginning(worker))):
        try:
            job = job_of(worker, message)
        except NotFoundError:
            if worker.run_index.sweeps.was_forgotten(message.run.sweep):
                return Outcome("dropped", "its sweep was forgotten")
            raise
        return _attempt(worker, job)


def _check_beginning(worker: WorkerContext) -> None:
    """Raises the error that ends a wait for the storage before the worker has a lease."""
    if worker.executor.is_closing():
        raise StorageAwayError("the worker is stopping, and the storage cannot be read just now")


def _attempt(worker: WorkerContext, job: Job) -> Outcome:
    try:
        claimed = claim(worker, job)
        if isinstance(claimed, Outcome):
            return claimed
        with worker.leases.keep(claimed.uid, claimed.lease, claimed.asked_at) as held:
            try:
                return _carry_out(worker, _begin(worker, job, claimed, held))
            except LeaseLostError:
                return Outcome("dropped", "the lease was lost; another worker takes over")
            except StorageAwayError as error:
                text = f"step {job.step}: {worker.disks.explain(error)}"
                return hand_back(worker, job, claimed.lease, held, text)
            finally:
                worker.workspaces.discard(claimed.uid)
    except OSError as error:
        raise StorageError(f"run {job.run}, step {job.step}: {worker.disks.explain(error)}") from error


def _begin(worker: WorkerContext, job: Job, claimed: Claim, held: Held) -> Attempt:
    base, lease, uid = base_of(worker, job.run.sweep), claimed.lease, claimed.uid
    is_bounded = bool(thread_bounds(worker.threads_per_slot, [*base.variables, *job.plan.step.env]))
    threads = worker.threads_per_slot if is_bounded else 0
    started = StepRecord(
        run=str(job.run),
        step=job.step,
        attempt=lease.attempt,
        uid=uid,
        state="running",
        argv=command_of(base, job.plan),
        worker=worker.name,
        started_at=time.time(),
        notes=base.notes,
        threads=threads,
    )
    return Attempt(job, lease, held, uid, job.paths.begin_attempt(job.step, lease.attempt, uid), started, base)


def _carry_out(worker: WorkerContext, attempt: Attempt) -> Outcome:
    """Carries out the stages after the claim. Records an exception from a stage as the failure that it stands for."""
    try:
        with patient(worker.disks.patience(lambda: check_going_on(worker, attempt))):
            executed = execute(worker, stage(worker, attempt))
            result = executed.result
            # Once the step was executed, giving up would lose its work.
            with patient(result_patience(worker, attempt, result.seconds)) if result else nullcontext():
                return record(worker, publish(worker, judge(worker, executed)))
    except (LeaseLostError, BrokerError):
        # The storage has the decision by then; without a broker, the index cannot be updated yet.
        raise
    except (TooLargeError, SupervisorError, CancelledError, StorageError, OSError) as error:
        return record(worker, replace(attempt, failure=_failure_by(worker, attempt, error)))
    except Exception as error:
        # A bug in this program: hand the step back now, instead of letting the lease expire.
        text = f"step {attempt.job.step}: internal error: {type(error).__name__}: {error}"
        record(worker, replace(attempt, failure=Failure("lost", text, True)))
        raise


def stage(worker: WorkerContext, attempt: Attempt) -> Attempt:
    """Prepares the folder in which the step is executed, unless an earlier attempt has published the step."""
    job, step = attempt.job, attempt.job.plan.step
    if attempt.lease.attempt > 1:
        attempt.check_lease()
        job.paths.fence_off(step.name, attempt.lease.attempt)
        if job.target.record() is not None:
            return replace(attempt, publication=Publication(is_own=False))
    attempt.slot.make()
    links = job.sweep.pipeline.links
    missing = missing_link(step.name, links)
    if missing is not None:
        return replace(attempt, failure=missing)
    snapshot = job.sweep.record.snapshot
    return replace(attempt, workspace=worker.workspaces.stage(attempt.uid, snapshot, job.earlier(), step, links))


def execute(worker: WorkerContext, attempt: Attempt) -> Attempt:
    """Runs the step."""
    if attempt.workspace is None:
        return attempt
    step = attempt.job.step
    # Staging may have taken long. If the lease was lost or the run cancelled meanwhile, there was no process to kill.
    attempt.check_lease()
    if attempt.held.cancelled:
        return replace(attempt, failure=cancelled(step))
    held = worker.health.wait_to_begin()
    attempt.check_lease()
    if held:
        return replace(attempt, failure=left_to_others(step, held))
    begun_at = time.monotonic()
    return replace(attempt, begun_at=begun_at, result=run_step(worker, attempt, attempt.workspace))


def judge(worker: WorkerContext, attempt: Attempt) -> Attempt:
    """Finds what the step left, and whether it failed through its own fault or because the machine lacks something."""
    workspace, result, begun_at = attempt.workspace, attempt.result, attempt.begun_at
    if workspace is None or result is None:
        return attempt
    step = attempt.job.plan.step
    complete_log(attempt, result)
    attempt.check_lease()
    found = find_outputs(workspace, step.outputs) if result.exit_code == 0 else None
    if found is not None:
        # A process that outlives the step may write to its folder, so no other attempt is to get it.
        worker.workspaces.note_changes(attempt.uid, None if result.is_outlived else found.changes)
    failure = failure_of(step, result, found)
    if failure is not None:
        failure = find_blame(worker, attempt, result, failure, begun_at)
    elif found is not None:
        failure = doubt_success(worker, attempt, result, found, begun_at)
    if failure is None or not failure.infrastructure:
        worker.admission.note_end()
    if failure is None:
        worker.health.note_success()
    return replace(attempt, record=_with_result(attempt, result, failure), found=found, failure=failure)


def publish(worker: WorkerContext, attempt: Attempt) -> Attempt:
    """Publishes the step's outputs. If the step failed through its own fault, keeps what it left."""
    workspace, found, failure = attempt.workspace, attempt.found, attempt.failure
    if workspace is None or attempt.result is None:
        return attempt
    if failure is None and found is not None:
        return publish_outputs(worker, attempt, workspace, found)
    if failure is None or failure.infrastructure or failure.cause == "cancelled":
        return attempt
    return keep_files(worker, attempt, workspace)


def record(worker: WorkerContext, attempt: Attempt) -> Outcome:
    """Records how the attempt ended."""
    failure, publication = attempt.failure, attempt.publication
    if publication is not None:
        return (
            record_success(worker, attempt, publication)
            if publication.is_own
            else record_published(worker, attempt.job)
        )
    if failure is None:
        failure = Failure("lost", f"step {attempt.job.step} vanished", True)
    attempt.check_lease()
    if failure.infrastructure and failure.is_death and failure.is_of_worker:
        # The step is not to blame. Too many such failures in a row are blamed on this worker, except while it was cut
        # off or paused.
        worker.admission.note_death(f"{attempt.job.run} {attempt.job.step}", failure.message)
    return record_failure(worker, attempt, failure)


def _failure_by(worker: WorkerContext, attempt: Attempt, error: Exception) -> Failure:
    """The failure that an exception during the attempt stands for. Removes partial outputs."""
    step = attempt.job.step
    match error:
        case TooLargeError():
            attempt.slot.drop_outputs()
            return too_large(step, error.path, error.size_bytes)
        case SupervisorError() if worker.executor.is_closing():
            attempt.slot.drop_outputs()
            return handed_back(step, str(error))
        case SupervisorError():
            lost = Failure("lost", f"step {step} was ended: {error}", infrastructure=True)
            return blame_interpreter(worker, attempt, time.monotonic()) or lost
        case CancelledError():
            attempt.slot.drop_outputs()
            return cancelled(step)
        case DamagedError():
            # Another worker would meet the same error.
            return replace(storage_failure(step, str(error), error), is_of_worker=False)
        case _:
            attempt.check_lease()
            attempt.slot.drop_outputs()  # they are partial, and they may be what fills the disk
            text = worker.disks.explain(error)
            trouble = worker.disks.trouble("storage", is_suspect=True)
            return storage_failure(step, text, error, trouble)


def _with_result(attempt: Attempt, result: ExecutionResult, failure: Failure | None) -> StepRecord:
    return attempt.record.model_copy(
        update={
            "ended_at": attempt.record.started_at + result.seconds,
            "seconds": round(result.seconds, 6),
            "exit_code": result.exit_code,
            "signal": result.signal,
            "notes": (*attempt.base.notes, *result.notes),
            "state": "failed" if failure else "succeeded",
            "silent": failure is None and result.log_bytes == result.log_dropped_bytes == 0,
        }
    )
