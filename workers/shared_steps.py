"""Steps that several runs of a sweep have in common: one executes, the others wait without a slot."""

from __future__ import annotations

from workers.context import WorkerContext
from workers.job import Job
from workers.outcome import Outcome
from workers.recording import record_published, record_shared_failure

_WAIT_SECONDS = 30.0


def join_shared(worker: WorkerContext, job: Job) -> Outcome | None:
    """What becomes of a shared step's message; None when this run is to execute it, or it is not shared."""
    if job.shared is None:
        return None
    joined = worker.run_index.sweeps.shared.join(job.run, job.step, job.shared.name, job.shared.scope)
    # Asked after joining: whoever published before has released its parked runs by then, or will enqueue this one.
    if job.shared.published.record() is not None:
        return record_published(worker, job)
    if joined.answer == "failed":
        return record_shared_failure(worker, job, joined.detail)
    if joined.answer == "parked":
        # Enqueued when the leader's step has ended; this is for a worker that is lost before it can.
        worker.run_index.enqueue_later(job.run, job.step, _WAIT_SECONDS)
        if worker.run_index.sweeps.begin(job.run):
            worker.feed_soon(job.run.sweep)
        return Outcome("waiting", f"waits for run {joined.detail}, which executes the same step")
    return None
