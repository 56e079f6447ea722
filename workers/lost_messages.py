"""Rings runs in flight whose message is nowhere: taken from the queue by a worker that died, or lost on the way.

A run in flight has a lease, a retry that waits, or a message in a queue. What has none of them for some seconds is
rung: always safe, and the claim sorts out what was only on its way.
"""

from __future__ import annotations

import logging

from pipeline_queue.canvas import ring
from pipeline_queue.contract.identity import RunId
from pipeline_queue.contract.ledger import Ledger
from pipeline_queue.contract.storage import Storage
from pipeline_queue.contract.wire import lists_of, run_of
from pipeline_queue.planner import remaining
from pipeline_queue.sweep import Sweep

logger = logging.getLogger(__name__)

_LOST_SECONDS = 5.0
_MOST_RUNS = 500
_MOST_MESSAGES = 20_000


def ring_lost(ledger: Ledger, storage: Storage, sweep: Sweep) -> int:
    """One look at a sweep's runs in flight; how many were rung. Raises BrokerError and StorageError."""
    name, steps = sweep.record.id, sweep.pipeline.steps
    untracked = ledger.sweeps.untracked(name, [step.name for step in steps], _LOST_SECONDS, _MOST_RUNS)
    if not untracked:
        return 0
    queued = queued_runs(ledger, {step.queue for step in steps})
    if queued is None:
        return 0  # so many messages that none of them is likely to be missed soon
    return sum(ring_unless_ended(ledger, storage, sweep, run) for run in untracked if run not in queued)


def queued_runs(ledger: Ledger, queues: set[str]) -> set[RunId] | None:
    """The runs that have a message in these queues, None when there are too many to look at."""
    names = [name for queue in sorted(queues) for name in lists_of(queue)]
    messages = ledger.sweeps.queued_messages(names, _MOST_MESSAGES)
    if messages is None:
        return None
    return {run for run in map(run_of, messages) if run is not None}


def ring_unless_ended(ledger: Ledger, storage: Storage, sweep: Sweep, run: RunId) -> bool:
    """Rings the run from its first unpublished step, or tells the ledger that it has ended."""
    paths = sweep.paths(storage, run)
    end = paths.end()
    if end is not None:
        # Whoever wrote it was lost before it could tell the ledger.
        ledger.close_run(run, end.state)
        return False
    todo = remaining(sweep.pipeline, run, sweep.parameters(run), paths.names())
    logger.info("ring run=%s step=%s", run, todo[0].step)
    ring(ledger, sweep.pipeline, todo)
    return True
