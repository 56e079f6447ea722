"""One attempt at one step: claim, stage, execute, publish or fail, record."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import replace

from pipeline_queue.broker.message import Message
from pipeline_queue.contract.errors import BrokerError, NotFoundError, StorageAwayError, StorageError, SupervisorError
from pipeline_queue.contract.records import StepRecord
from pipeline_queue.index.run_index import Lease, Refusal
from pipeline_queue.storage.access import inherit_access
from pipeline_queue.storage.patience import patient, repeat_until_done
from pipeline_queue.storage.storage import CANCELLED, OUTPUTS, RUN_END, read_step
from workers.agents.lease_keeper import Held
from workers.blame import blame_interpreter, doubt_success, find_blame
from workers.context import WorkerContext
from workers.file_tree import remove_tree
from workers.job import Attempt, Job, LeaseLostError, job_of
from workers.keeping import keep_files
from workers.launch import command_of, complete_log, execute
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
from workers.outputs import TooLargeError, Workspace, find_outputs
from workers.recording import (
    CancelledError,
    check_going_on,
    hand_back,
    publish_attempt,
    record_cancelled,
    record_failure,
    record_given_up,
    record_published,
    result_patience,
)
from workers.shared_steps import join_shared
from workers.step_base import base_of
from workers.supervisor.protocol import ExecutionResult, lease_clock
from workers.suspicion import Tried, untried
from workers.workspace import DamagedError

logger = logging.getLogger(__name__)

_ENQUEUE_SECONDS = 1.0
_LATE_SECONDS = 120.0
"""A network file system shows every machine what another has written long before."""


def attempt_step(worker: WorkerContext, message: Message) -> Outcome:
    """Executes one step if it is this worker's to execute, and says what becomes of the Celery task.

    Raises InputError for a run or step that does not exist, MessageError for values that are not the run's,
    BrokerError and StorageError when those are gone.
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
    """Raises what ends a wait for the storage before there is a lease."""
    if worker.executor.is_closing():
        raise StorageAwayError("the worker is stopping, and the storage cannot be read just now")


def _attempt(worker: WorkerContext, job: Job) -> Outcome:
    try:
        settled = _already_decided(worker, job)
        if settled:
            return settled
        joined = join_shared(worker, job)
        if joined:
            return joined
        uid = secrets.token_hex(6)
        claimed_at = lease_clock()
        lease = _claimed(worker, job, uid)
        if isinstance(lease, Refusal):
            return _refused(worker, job, lease)
        if lease.wants_more:
            worker.feed_soon(job.run.sweep)
        with worker.leases.keep(uid, lease, claimed_at) as held:
            try:
                return _execute_and_record(worker, job, lease, held, uid)
            except LeaseLostError:
                return Outcome("dropped", "the lease was lost; another worker takes over")
            except StorageAwayError as error:
                return hand_back(worker, job, lease, held, f"step {job.step}: {worker.disks.explain(error)}")
            finally:
                worker.workspaces.discard(uid)
    except OSError as error:
        raise StorageError(f"run {job.run}, step {job.step}: {worker.disks.explain(error)}") from error


def _already_decided(worker: WorkerContext, job: Job) -> Outcome | None:
    """What the storage has decided already, None when the step is still to be done."""
    if RUN_END in job.names:
        end = job.paths.end()
        if end is not None:
            worker.run_index.close_run(job.run, end.state)
        return Outcome("dropped", "the run has ended")
    if job.step in job.names:
        return record_published(worker, job)
    if CANCELLED in job.names or _is_sweep_cancelled(worker, job):
        # Whoever runs a step of it ends that, with its grace, and then the run.
        if worker.run_index.cancel(job.run) == "running":
            return Outcome("dropped", "the run is being cancelled")
        return record_cancelled(worker, job)
    missing = job.missing()
    return _out_of_turn(worker, job, missing) if missing else None


def _is_sweep_cancelled(worker: WorkerContext, job: Job) -> bool:
    """A message may come long after the index has forgotten that its sweep was cancelled."""
    return len(job.sweep.space) > 1 and worker.storage.is_cancelled(job.run.sweep)


def _claimed(worker: WorkerContext, job: Job, uid: str) -> Lease | Refusal:
    """The answer to a claim; what failed here is left to others, as long as there are any that have not tried it."""
    leads = (job.shared.scope, job.shared.name) if job.shared else None
    attempts = job.attempts_made()
    answer = worker.run_index.claim(job.run, job.step, uid, worker.name, attempts, leads)
    if isinstance(answer, Refusal) and answer.reason == "avoided":
        peers = worker.health.peers(job.plan.step.queue)
        if not untried(worker.name, Tried(answer.failed_on), peers):
            return worker.run_index.claim(job.run, job.step, uid, worker.name, attempts, leads, is_for_anybody=True)
    return answer


def _refused(worker: WorkerContext, job: Job, refusal: Refusal) -> Outcome:
    match refusal.reason:
        case "published":
            # The storage decides; a network file system may show this machine a publication late.
            if read_step(job.paths.step(job.step)) is None:
                return _untrue(worker, job, refusal) or _out_of_turn(worker, job, job.step)
            return record_published(worker, job)
        case "ended" if job.paths.end() is None and (untrue := _untrue(worker, job, refusal)):
            return untrue
        case "cancelled":
            return record_cancelled(worker, job)
        case "paused":
            return Outcome("paused", "waits until its sweep is resumed")
        case "exhausted":
            return record_given_up(worker, job, refusal.detail)
        case "avoided":
            return Outcome("dropped", "it failed here: another worker is to try it")
    return Outcome("dropped", f"{refusal.reason} {refusal.detail}".strip())


def _untrue(worker: WorkerContext, job: Job, refusal: Refusal) -> Outcome | None:
    """Drops what the index says of a run when the storage has not said so for long; None when it may be late."""
    if refusal.since_seconds is not None and refusal.since_seconds < _LATE_SECONDS:
        return None
    logger.warning("drop index of run=%s: it is not %s on the storage", job.run, refusal.reason)
    worker.run_index.forget_run(job.run)
    worker.run_index.enqueue_later(job.run, job.step, _ENQUEUE_SECONDS)
    return Outcome("dropped", "what the index said of it was not true")


def _out_of_turn(worker: WorkerContext, job: Job, missing: str) -> Outcome:
    worker.run_index.enqueue_later(job.run, job.step, _ENQUEUE_SECONDS)
    logger.warning("out of turn run=%s step=%s: step %s is not published", job.run, job.step, missing)
    return Outcome("dropped", f"step {missing} is not published")


def _execute_and_record(worker: WorkerContext, job: Job, lease: Lease, held: Held, uid: str) -> Outcome:
    attempt = _begin(worker, job, lease, held, uid)
    try:
        with patient(worker.disks.patience(lambda: check_going_on(worker, attempt))):
            return _execute(worker, attempt)
    except TooLargeError as error:
        remove_tree(attempt.folder / OUTPUTS)
        return record_failure(worker, attempt, too_large(job.step, error.path, error.size_bytes))
    except (LeaseLostError, BrokerError):
        # What is decided is on the storage by then; without a broker nobody can be told yet.
        raise
    except SupervisorError as error:
        if worker.executor.is_closing():
            remove_tree(attempt.folder / OUTPUTS)
            return record_failure(worker, attempt, handed_back(job.step, str(error)))
        lost = Failure("lost", f"step {job.step} was ended: {error}", infrastructure=True)
        return _record_death(worker, attempt, blame_interpreter(worker, attempt, time.monotonic()) or lost)
    except CancelledError:
        remove_tree(attempt.folder / OUTPUTS)
        return record_failure(worker, attempt, cancelled(job.step))
    except DamagedError as error:
        # Another worker would find it so, too: no death of this one's.
        return record_failure(worker, attempt, storage_failure(job.step, str(error), error))
    except (StorageError, OSError) as error:
        attempt.check_lease()
        remove_tree(attempt.folder / OUTPUTS)  # half of them, and perhaps what fills the disk
        text = worker.disks.explain(error)
        trouble = worker.disks.trouble("storage", is_suspect=True)
        return _record_death(worker, attempt, storage_failure(job.step, text, error, trouble))
    except Exception as error:
        # A fault of this program: handed back at once, instead of when the lease has run out.
        text = f"step {job.step}: internal error: {type(error).__name__}: {error}"
        _record_death(worker, attempt, Failure("lost", text, True))
        raise


def _record_death(worker: WorkerContext, attempt: Attempt, failure: Failure) -> Outcome:
    """Records the end of an attempt that is not the step's doing; too many in a row are this worker's.

    Not those of a worker that was cut off or paused: then every step that runs here ends at once.
    """
    attempt.check_lease()
    if failure.is_death and failure.is_of_worker:
        worker.admission.note_death(f"{attempt.job.run} {attempt.job.step}", failure.message)
    return record_failure(worker, attempt, failure)


def _begin(worker: WorkerContext, job: Job, lease: Lease, held: Held, uid: str) -> Attempt:
    base = base_of(worker, job.run.sweep)
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
    )
    return Attempt(job, lease, held, uid, job.paths.attempt(job.step, lease.attempt, uid), started, base)


def _execute(worker: WorkerContext, attempt: Attempt) -> Outcome:
    step = attempt.job.plan.step
    if attempt.lease.attempt > 1:
        attempt.check_lease()
        attempt.job.paths.fence_off(step.name, attempt.lease.attempt)
        if read_step(attempt.job.target) is not None:
            return record_published(worker, attempt.job)
    _make_folder(worker, attempt)
    pipeline = attempt.job.sweep.pipeline
    missing = missing_link(step.name, pipeline.links)
    if missing is not None:
        return _record_death(worker, attempt, missing)
    snapshot = attempt.job.sweep.record.snapshot
    workspace = worker.workspaces.stage(attempt.uid, snapshot, attempt.job.earlier(), step, pipeline.links)
    # Staging may have taken long, and whoever lost the lease or cancelled meanwhile found no process to end.
    attempt.check_lease()
    if attempt.held.cancelled:
        return record_failure(worker, attempt, cancelled(step.name))
    held = worker.health.wait_to_begin()
    attempt.check_lease()
    if held:
        return record_failure(worker, attempt, left_to_others(step.name, held))
    begun_at = time.monotonic()
    result = execute(worker, attempt, workspace)
    # From here on there is something to lose.
    with patient(result_patience(worker, attempt, result.seconds)):
        return _record_result(worker, attempt, workspace, result, begun_at)


def _record_result(
    worker: WorkerContext, attempt: Attempt, workspace: Workspace, result: ExecutionResult, begun_at: float
) -> Outcome:
    """Publishes what the step left, or records why it failed."""
    step = attempt.job.plan.step
    complete_log(attempt, result)
    attempt.check_lease()
    found = find_outputs(workspace, step.outputs) if result.exit_code == 0 else None
    failure = failure_of(step, result, found)
    if failure is not None:
        failure = find_blame(worker, attempt, result, failure, begun_at)
    elif found is not None:
        failure = doubt_success(worker, attempt, result, found, begun_at)
    ended = _with_result(attempt, result, failure)
    if failure is not None and failure.infrastructure:
        return _record_death(worker, ended, failure)
    worker.admission.note_end()
    if failure is None and found is not None:
        worker.health.note_success()
        return publish_attempt(worker, ended, workspace, found)
    failure = failure or Failure("lost", "the step vanished", True)
    if failure.cause != "cancelled":
        ended = keep_files(worker, ended, workspace)
    return record_failure(worker, ended, failure)


def _make_folder(worker: WorkerContext, attempt: Attempt) -> None:
    try:
        # Its name is this attempt's alone: one that is there was made by a request that was sent twice.
        repeat_until_done(lambda: attempt.folder.mkdir(exist_ok=True))
        inherit_access(attempt.folder)
    except FileNotFoundError:
        worker.storage.make_run_folder(attempt.job.run.sweep, attempt.folder)


def _with_result(attempt: Attempt, result: ExecutionResult, failure: Failure | None) -> Attempt:
    record = attempt.record.model_copy(
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
    return replace(attempt, record=record)
