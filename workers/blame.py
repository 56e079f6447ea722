"""Finds the real cause of a failure: a cancel, the worker's own stop, a disk, an interpreter or the whole machine."""

from __future__ import annotations

import re

from pipeline_queue.model.failure_causes import meaningful_line
from workers import suspicion
from workers.context import WorkerContext
from workers.job import Attempt
from workers.outcome import Failure, blamed_on_disk, cancelled, handed_back, lines_at_end, not_begun
from workers.outputs import Found
from workers.supervisor.protocol import Cause, ExecutionResult
from workers.suspicion import Sign, Tried

_PYTHON = re.compile(r"(?:.*/)?python[\d.]*", re.DOTALL)
_TRACEBACK = "Traceback (most recent call last)"


def find_blame(
    worker: WorkerContext, attempt: Attempt, result: ExecutionResult, failure: Failure, begun_at: float
) -> Failure:
    """The failure with its real cause; `begun_at`: when its process was started, by `time.monotonic()`."""
    if attempt.held.cancelled:
        return cancelled(attempt.job.step)
    if result.cause is Cause.STOPPED:
        return handed_back(attempt.job.step, f"its worker stops: {result.reason}")
    if failure.cause == "not_started" and failure.infrastructure:
        return not_begun(failure, worker.disks.trouble("storage", is_suspect=True))
    failure = blamed_on_disk(failure, *worker.disks.lasting_trouble())
    return failure if failure.infrastructure else _blamed_on_machine(worker, attempt, result, failure, begun_at)


def blame_interpreter(worker: WorkerContext, attempt: Attempt, begun_at: float) -> Failure | None:
    """The failure of an attempt whose interpreter does not work; None when it does."""
    used = (attempt.base.python, attempt.base.variables)
    fault, is_own = worker.health.interpreter_fault(used, begun_at)
    step = attempt.job.plan.step
    if not fault:
        return None
    return suspicion.interpreter_failure(step.name, fault, attempt.lease.attempt, step.retries, is_own)


def doubt_success(
    worker: WorkerContext, attempt: Attempt, result: ExecutionResult, found: Found, begun_at: float
) -> Failure | None:
    """The failure of a step that seems to have succeeded although its interpreter executes nothing. None otherwise."""
    step = attempt.job.plan.step
    is_python = (step.python or bool(_PYTHON.fullmatch(attempt.record.argv[0]))) and not step.preload
    if not suspicion.is_void(is_python, result.seconds, result.log_bytes, len(found.outputs)):
        return None
    return blame_interpreter(worker, attempt, begun_at)


def _blamed_on_machine(
    worker: WorkerContext, attempt: Attempt, result: ExecutionResult, failure: Failure, begun_at: float
) -> Failure:
    lines = (
        lines_at_end(attempt.slot.log_end)
        if result.log_bytes and result.seconds <= suspicion.MAX_LOADING_SECONDS
        else []
    )
    line = meaningful_line(lines)
    sign = Sign(failure.cause, result.seconds, result.log_bytes, result.exit_code, result.signal, line)
    if suspicion.needs_probe(sign, any(_TRACEBACK in one for one in lines)):
        unusable = blame_interpreter(worker, attempt, begun_at)
        if unusable is not None:
            return unusable
    lease, step = attempt.lease, attempt.job.plan.step
    peers = worker.health.peers(step.queue)
    tried = Tried(lease.failed_on, lease.handed_on)
    worker.health.note_failure(attempt.job.run, step.name, sign, tried, peers)
    is_for_all = attempt.job.shared is not None and attempt.failures_before() >= step.retries
    return suspicion.handed_on(failure, sign, worker.name, tried, peers, is_for_all)
