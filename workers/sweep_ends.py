"""Looks after the sweeps that have not ended: feeds them, rings what got lost, writes down their ends."""

from __future__ import annotations

import logging

from pipeline_queue.contract.errors import NotFoundError
from pipeline_queue.contract.ledger import Ledger
from pipeline_queue.contract.records import SweepEnd, SweepEndState
from pipeline_queue.contract.storage import Storage
from pipeline_queue.contract.sweep_ledger import LiveSweep
from pipeline_queue.contract.wire import lists_of
from pipeline_queue.feeder import feed, ring_runs
from workers.context import SweepCache

logger = logging.getLogger(__name__)

_LOST_SECONDS = 20.0
_MOST_RUNG = 100


def look_after(ledger: Ledger, storage: Storage, sweeps: SweepCache) -> None:
    """One look at every sweep that has not ended. Raises BrokerError and StorageError."""
    workers = ledger.workers()
    for name in ledger.sweeps.unended():
        live = ledger.sweeps.read(name)
        try:
            sweep = sweeps.get(name)
        except NotFoundError:
            ledger.sweeps.forget_ended(name)
            continue
        if live is None:
            ledger.sweeps.forget_ended(name)
        elif live.ended_at is not None:
            if live.total > 1:
                storage.end_sweep(end_of(name, live))
            ledger.sweeps.forget_ended(name)
        else:
            feed(ledger, storage, sweep, workers)
            _ring_lost(ledger, storage, sweeps, name)


def end_of(name: str, live: LiveSweep) -> SweepEnd:
    """The content of `end.json`."""
    never = live.total - live.succeeded - live.failed - live.cancelled
    state: SweepEndState = "failed" if live.failed else "succeeded"
    if live.state in ("cancelled", "stopped"):
        state = live.state
    return SweepEnd(
        sweep=name,
        state=state,
        total=live.total,
        counts={"succeeded": live.succeeded, "failed": live.failed, "cancelled": live.cancelled + never},
        created_at=live.created_at,
        ended_at=live.ended_at or live.now,
    )


def _ring_lost(ledger: Ledger, storage: Storage, sweeps: SweepCache, name: str) -> None:
    """Rings runs whose message is nowhere: allotted long ago, never claimed, and nothing is left in their queue."""
    waiting = ledger.sweeps.waiting_since(name, _LOST_SECONDS, _MOST_RUNG)
    sweep = sweeps.get(name)
    queue = sweep.pipeline.steps[0].queue
    if not waiting or ledger.sweeps.queued_messages(lists_of(queue)):
        return
    for run in waiting:
        end = sweep.paths(storage, run).end()
        if end is not None:
            ledger.close_run(run, end.state)
            continue
        logger.info("ring lost run=%s", run)
        ledger.sweeps.touch(run)
        ring_runs(ledger, sweep, [run])
