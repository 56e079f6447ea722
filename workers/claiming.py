"""Decides whether this worker executes a step: asks the storage, checks a shared step's leader, claims the lease."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from pipeline_queue.index.leases import Lease, Refusal
from pipeline_queue.storage.layout import CANCELLED, RUN_END
from workers.context import WorkerContext
from workers.job import Job
from workers.outcome import Outcome
from workers.recording import record_cancelled, record_given_up, record_published
from workers.shared_steps import join_shared
from workers.supervisor.protocol import lease_clock
from workers.suspicion import Tried, untried

logger = logging.getLogger(__name__)

_ENQUEUE_SECONDS = 1.0
_LATE_SECONDS = 120.0
"""Within this time, a network file system shows every machine what another machine has written."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A granted claim; `uid` is its holder, `asked_at` the time of the request, by `lease_clock()`."""

    uid: str
    lease: Lease
    asked_at: float


def claim(worker: WorkerContext, job: Job) -> Claim | Outcome:
    """The lease to execute the step, or, if it is not granted, what becomes of the step's message."""
    settled = _already_decided(worker, job) or join_shared(worker, job)
    if settled:
        return settled
    uid = secrets.token_hex(6)
    asked_at = lease_clock()
    lease = _claimed(worker, job, uid)
    if isinstance(lease, Refusal):
        return _refused(worker, job, lease)
    if lease.wants_more:
        worker.feed_soon(job.run.sweep)
    return Claim(uid, lease, asked_at)


def _already_decided(worker: WorkerContext, job: Job) -> Outcome | None:
    """The outcome that the storage has decided already, None when the step still has to be executed."""
    if RUN_END in job.names:
        end = job.paths.end()
        if end is not None:
            worker.run_index.close_run(job.run, end.state)
        return Outcome("dropped", "the run has ended")
    if job.step in job.names:
        return record_published(worker, job)
    if CANCELLED in job.names or _is_sweep_cancelled(worker, job):
        # The worker that executes a step of the run stops it, with its grace period, and then ends the run.
        if worker.run_index.cancel(job.run) == "running":
            return Outcome("dropped", "the run is being cancelled")
        return record_cancelled(worker, job)
    missing = job.missing()
    return _out_of_turn(worker, job, missing) if missing else None


def _is_sweep_cancelled(worker: WorkerContext, job: Job) -> bool:
    """Whether the sweep was cancelled. A message may arrive long after the index has forgotten that."""
    return len(job.sweep.space) > 1 and worker.storage.is_cancelled(job.run.sweep)


def _claimed(worker: WorkerContext, job: Job, uid: str) -> Lease | Refusal:
    """The answer to a claim. Leaves a step that failed here to other workers while some have not tried it."""
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
            # The storage is the truth, but a network file system may show this machine a publication late.
            if job.paths.step(job.step).record() is None:
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
    """Drops the index's entry of a run that the storage has contradicted for long; None if the storage may be late."""
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
