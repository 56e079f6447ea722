"""Records an attempt as published or failed: first in the storage, then in the index, which also
sends the message of the next step.

This file guarantees: outputs appear as a whole or not at all, and from one attempt (the rename of `publish`); a worker
that has lost its lease writes nothing.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeVar

from pipeline_queue.broker.message import Message
from pipeline_queue.contract.errors import NotFoundError, StorageError, SupervisorError
from pipeline_queue.contract.records import RunRecord, StepRecord
from pipeline_queue.contract.states import SHARED_FAILURE, RunState
from pipeline_queue.contract.wording import counted
from pipeline_queue.index.leases import LEASE_SECONDS, Ending, Lease
from pipeline_queue.model.failure_causes import cause_of
from pipeline_queue.planning.planner import messages_for, retry_delay_seconds
from pipeline_queue.reporting.runs import StepFiles, end_of_run, find_ended_steps
from pipeline_queue.storage.patience import Patience, patient
from pipeline_queue.storage.run_store import AttemptSlot
from pipeline_queue.submitting.canvas import following
from workers.agents.lease_keeper import Held
from workers.context import WorkerContext
from workers.job import Attempt, Job, LeaseLostError, Publication
from workers.metrics import read_metrics
from workers.outcome import Failure, Outcome, with_tail
from workers.outputs import Found, Workspace, with_checksums
from workers.suspicion import OPINION_ELSEWHERE_SECONDS, RETRY_ELSEWHERE_SECONDS, Tried, to_avoid

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_DENIED_DELAY_SECONDS = 2.0
_AWAY_DELAY_SECONDS = 10.0
_AWAY_SECONDS = LEASE_SECONDS
_QUIET_SECONDS = 1.0


class CancelledError(Exception):
    """The run was cancelled while its outputs waited for disk space."""


def publish_outputs(worker: WorkerContext, attempt: Attempt, workspace: Workspace, found: Found) -> Attempt:
    """Publishes the outputs unless another attempt was first. Ends the run in the storage after its last step."""
    job = attempt.job
    is_there = found.has("metrics.json")
    metrics, metric_notes = read_metrics(workspace.folder / "metrics.json") if is_there else ({}, ())
    record = attempt.record.model_copy(
        update={
            "outputs": found.outputs,
            "deleted": found.deleted,
            "notes": (*attempt.record.notes, *found.notes, *metric_notes),
            "metrics": metrics,
        }
    )

    def when_writable(action: Callable[[], _T]) -> _T:
        attempt.check_lease()
        return worker.disks.when_writable(
            lambda: check_going_on(worker, attempt), action, _away_seconds(record.seconds)
        )

    attempt.check_lease()
    found = with_checksums(workspace, found)
    record = record.model_copy(update={"outputs": found.outputs})
    when_writable(lambda: attempt.slot.put_outputs(workspace.folder, found.outputs))
    if record.silent:
        when_writable(attempt.slot.drop_log)
    attempt.slot.share_access()
    when_writable(lambda: attempt.slot.write_record(record))
    if not when_writable(lambda: attempt.slot.publish(job.target)):
        logger.info("publication lost run=%s step=%s attempt=%d", job.run, job.step, attempt.lease.attempt)
        attempt.slot.discard()
        return replace(attempt, publication=Publication(is_own=False))
    end = worker.disks.when_writable(lambda: check_ending(worker, attempt), lambda: _finish_run(job, record))
    return replace(attempt, record=record, publication=Publication(is_own=True, end=end))


def record_success(worker: WorkerContext, attempt: Attempt, publication: Publication) -> Outcome:
    """Records this attempt's publication in the index and, in the same operation, sends the next step's message."""
    job, record, end = attempt.job, attempt.record, publication.end
    published = job.published()
    is_complete = job.sweep.pipeline.is_complete(published)
    state: RunState = "succeeded" if is_complete else "running"
    metrics = end.metrics if end else {}
    ending = Ending("succeeded", state, record.seconds, record.exit_code, published=len(published), metrics=metrics)
    attempt.held.is_ending = True
    if not worker.run_index.record(attempt.lease, ending, _following(worker, job)):
        # A worker that holds the lease now finds the step published. If the index was flushed, no worker would go on.
        return record_published(worker, job)
    release_shared(worker, job)
    if is_complete:
        _feed_next(worker, job)
    logger.info("published run=%s step=%s attempt=%d files=%d", job.run, job.step, record.attempt, len(record.outputs))
    return Outcome("go_on", f"published {counted(len(record.outputs), 'output')} after {record.seconds:.3g} s")


def check_going_on(worker: WorkerContext, attempt: Attempt) -> None:
    """Raises the error that ends a wait for the storage: a lost lease, a cancel, or the stop of this worker."""
    attempt.check_lease()
    if attempt.held.cancelled:
        raise CancelledError
    if worker.executor.is_closing():
        raise SupervisorError("the worker is stopping, and the storage cannot be read or written just now")


def result_patience(worker: WorkerContext, attempt: Attempt, seconds: float) -> Patience:
    """How long to retry when the storage is away after a step has been executed; `seconds`: how long the step took."""
    return worker.disks.patience(lambda: check_going_on(worker, attempt), _away_seconds(seconds))


def _away_seconds(seconds: float) -> float:
    """The time that another worker would need to execute the step again."""
    return max(_AWAY_SECONDS, seconds)


def check_ending(worker: WorkerContext, attempt: Attempt) -> None:
    attempt.check_lease()
    if worker.executor.is_closing():
        raise SupervisorError("the worker is stopping; the end of the run could not be written yet")


def _finish_run(job: Job, record: StepRecord) -> RunRecord | None:
    """Does what follows a publication in the storage; safe to repeat. Returns the run's end after its last step."""
    if job.shared:
        job.paths.link(job.step, job.shared.published)
    if job.ends_run():
        return _end_run(job, "succeeded", "", StepFiles(job.step, job.step, True, record))
    return None


def record_failure(worker: WorkerContext, attempt: Attempt, failure: Failure) -> Outcome:
    job, lease = attempt.job, attempt.lease
    attempt.check_lease()
    retries = job.plan.step.retries
    cancelled = failure.cause == "cancelled"
    counts_for_nothing = failure.infrastructure or failure.is_handed_on
    failures = 0 if counts_for_nothing or cancelled else 1
    before = attempt.failures_before()
    again = counts_for_nothing or (not cancelled and before + failures <= retries)
    said = (
        f"{failure.message} on {worker.name}, and another worker tries it" if failure.is_handed_on else failure.message
    )
    text = said if cancelled else with_tail(said, attempt.slot.log_end)
    state = "cancelled" if cancelled else "retrying" if again else "failed"
    record = attempt.record.model_copy(
        update={
            "state": state,
            "cause": failure.cause,
            "is_handed_on": failure.is_handed_on,
            "message": text,
            "ended_at": attempt.record.ended_at or time.time(),
        }
    )
    attempt.slot.share_access()
    is_hopeless = failure.cause == "storage"  # the cause of the failure would make this write fail, too
    quiet = Patience(_QUIET_SECONDS, check=attempt.check_lease)
    with patient(quiet if is_hopeless else worker.disks.patience(attempt.check_lease, _AWAY_SECONDS)):
        _write_quietly(attempt.slot, record)
    logger.info("%s run=%s step=%s attempt=%d: %s", state, job.run, job.step, lease.attempt, said)
    handed_on = int(failure.is_handed_on)
    tried = Tried(lease.failed_on, lease.handed_on)
    ending = Ending(
        step_state=record.state,
        run_state="running" if again else "cancelled" if cancelled else "failed",
        seconds=record.seconds,
        exit_code=record.exit_code,
        message=text,
        cause=cause_of(text),
        failures=failures,
        deaths=1 if failure.infrastructure and failure.is_death else 0,
        retry_seconds=failure.delay_seconds
        if failure.infrastructure
        else retry_delay_seconds(before + failures + lease.handed_on + handed_on),
        handed_on=handed_on,
        avoid=to_avoid(worker.name, tried, worker.health.peers(job.plan.step.queue)) if again else (),
        avoid_seconds=OPINION_ELSEWHERE_SECONDS if handed_on else RETRY_ELSEWHERE_SECONDS,
    )
    if not again:
        last = StepFiles(job.step, attempt.slot.name, False, record)
        # Write from the attempt's folder, which is moved away once another worker has the lease.
        worker.disks.when_writable(
            lambda: check_ending(worker, attempt),
            lambda: _end_run(job, ending.run_state, text, last, attempt.slot),
            _away_seconds(record.seconds),
        )
    attempt.held.is_ending = True
    if not worker.run_index.record(lease, ending):
        raise LeaseLostError
    if not again:
        release_shared(worker, job, "" if cancelled else text)
        _feed_next(worker, job)
    if cancelled:
        return Outcome("cancelled", text)
    return Outcome("retry" if again else "failed", text)


def hand_back(worker: WorkerContext, job: Job, lease: Lease, held: Held, text: str) -> Outcome:
    """Gives up the lease of an attempt whose end cannot be written while the storage is away. Writes to the index only.

    The attempt does not count. The worker that goes on finds what the attempt has written.
    """
    held.is_ending = True
    again = Ending("retrying", "running", message=text, cause=cause_of(text), retry_seconds=_AWAY_DELAY_SECONDS)
    logger.warning("handed back run=%s step=%s attempt=%d: %s", job.run, job.step, lease.attempt, text)
    if not worker.run_index.record(lease, again):
        return Outcome("dropped", "the lease was lost; another worker takes over")
    return Outcome("retry", text)


def record_published(worker: WorkerContext, job: Job) -> Outcome:
    if job.shared:
        job.paths.link(job.step, job.shared.published)
    end = _end_run(job, "succeeded", "", None) if job.ends_run() else None
    state: RunState = "succeeded" if job.ends_run() else "running"
    ending = Ending("succeeded", state, published=len(job.published()), metrics=end.metrics if end else {})
    worker.run_index.record(Lease.decided(job.run, job.step), ending, _following(worker, job))
    release_shared(worker, job)
    return Outcome("go_on", "published before")


def record_cancelled(worker: WorkerContext, job: Job) -> Outcome:
    _end_run(job, "cancelled", "cancelled", None)
    worker.run_index.record(Lease.decided(job.run, job.step), Ending("cancelled", "cancelled", message="cancelled"))
    release_shared(worker, job)
    return Outcome("cancelled", "cancelled")


def record_given_up(worker: WorkerContext, job: Job, detail: str) -> Outcome:
    """Fails the step after too many infrastructure failures; `detail`: how often, where, and the reason if known."""
    deaths, where, why = (*detail.split(" ", 2), "", "")[:3]
    cause = why.partition("\n")[0] or "that worker was lost while it ran"
    attempts = counted(int(deaths), "attempt")
    text = f"step {job.step} was given up: {attempts} ended for no fault of its own, last on {where}: {cause}"
    outcome = record_shared_failure(worker, job, text, is_own=True)
    release_shared(worker, job, text)
    return outcome


def record_shared_failure(worker: WorkerContext, job: Job, text: str, is_own: bool = False) -> Outcome:
    """Fails the step without a new attempt of this run; `is_own`: this run has made attempts before."""
    _end_run(job, "failed", text, None)
    ending = Ending("failed", "failed", message=text, cause=cause_of(text) + ("" if is_own else SHARED_FAILURE))
    worker.run_index.record(Lease.decided(job.run, job.step), ending)
    return Outcome("failed", text)


def record_denied(worker: WorkerContext, message: Message, text: str) -> Outcome:
    """Records that the storage denies this worker's user access that the run needs; `text` says which.

    Another worker may have access, so this counts as a death of the step. After a few deaths the run ends, in the index
    only.
    """
    run, step = message.run, message.step
    worker.admission.note_death(f"{run} {step}", text)
    lease = worker.run_index.claim(run, step, secrets.token_hex(6), worker.name, 0)
    if isinstance(lease, Lease):
        again = Ending("retrying", "running", message=text, cause=text, deaths=1, retry_seconds=_DENIED_DELAY_SECONDS)
        worker.run_index.record(lease, again)
        return Outcome("retry", text)
    logger.error("not written run=%s step=%s: %s", run, step, text)
    state: Literal["cancelled", "failed"] = "cancelled" if lease.reason == "cancelled" else "failed"
    if state == "failed" and lease.reason != "exhausted":
        return Outcome("dropped", f"{lease.reason} {lease.detail}".strip())
    end = f"run {run} has {state}, which cannot be written to the storage: {text}"
    ending = Ending(state, state, message=end, cause=text.partition(";")[0], is_unwritten=True)
    worker.run_index.record(Lease.decided(run, step), ending)
    return Outcome(state, end)


def release_shared(worker: WorkerContext, job: Job, failure: str = "") -> None:
    """Enqueues the runs parked for this step: they find it published, share its failure, or one of them leads."""
    if job.shared is None:
        return
    parked = worker.run_index.sweeps.shared.release(job.run.sweep, job.shared.name, job.shared.scope, failure)
    for name in {run.sweep for run in parked}:
        try:
            sweep = worker.sweeps.get(name)
        except NotFoundError:
            continue  # the sweep was deleted meanwhile
        pipeline = sweep.pipeline
        runs = [run for run in parked if run.sweep == name and run.index < len(sweep.space)]
        if not pipeline.has(job.step):
            continue  # its runs never wait for this step
        steps = (job.step, *pipeline.after(job.step))
        worker.enqueue_soon(pipeline, [messages_for(steps, run, sweep.space[run.index]) for run in runs])


def _following(worker: WorkerContext, job: Job) -> Message | None:
    """The message that is sent with the record of this step, None after the last step."""
    point = job.sweep.parameters(job.run)
    return following(job.sweep.pipeline, job.message, point, job.published(), worker.run_index.signing_key)


def _end_run(
    job: Job, state: RunState, message: str, last: StepFiles | None, within: AttemptSlot | None = None
) -> RunRecord:
    """Writes `run.json` unless it exists, and returns its content. `last`: the known record of this attempt's step."""
    steps = find_ended_steps(job.sweep, job.paths, is_whole=state == "succeeded", known=last)
    record = end_of_run(job.sweep, job.run, steps, state, message)
    job.paths.write_end(record, within)
    return record


def _feed_next(worker: WorkerContext, job: Job) -> None:
    """Has the next runs enqueued, because an ended run makes room in a sweep with limited parallelism."""
    if job.sweep.settings.max_parallel is not None:
        worker.feed_soon(job.run.sweep)


def _write_quietly(slot: AttemptSlot, record: StepRecord) -> None:
    try:
        slot.write_record(record)
    except (OSError, StorageError) as error:
        logger.warning("not written in %s: %s", slot.where(), error)
