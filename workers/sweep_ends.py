"""Looks after the sweeps that have not ended: feeds them, rings what got lost, writes down their ends."""

from __future__ import annotations

import logging

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.identity import RunId
from pipeline_queue.contract.ledger import Ledger, LiveWorker
from pipeline_queue.contract.records import SweepEnd, SweepEndState
from pipeline_queue.contract.storage import Storage
from pipeline_queue.contract.sweep_ledger import LiveSweep
from pipeline_queue.feeder import feed
from workers.context import SweepCache
from workers.lost_messages import ring_lost

logger = logging.getLogger(__name__)


def look_after(ledger: Ledger, storage: Storage, sweeps: SweepCache) -> None:
    """One look at every sweep that has not ended. Raises BrokerError."""
    workers = ledger.workers()
    for name in ledger.sweeps.unended():
        try:
            _look_after(ledger, storage, sweeps, workers, name)
        except (StorageError, OSError) as error:
            # One that cannot be read now must not keep the others waiting.
            logger.warning("passed over sweep=%s: %s", name, error)


def _look_after(ledger: Ledger, storage: Storage, sweeps: SweepCache, workers: list[LiveWorker], name: str) -> None:
    live = ledger.sweeps.read(name)
    try:
        sweep = sweeps.get(name)
    except NotFoundError:
        for index in ledger.sweeps.in_flight(name):
            ledger.forget_run(RunId(name, index))
        ledger.sweeps.forget_ended(name)
        return
    if live is None:
        ledger.sweeps.forget_ended(name)
    elif live.ended_at is not None:
        if live.total > 1:
            storage.end_sweep(end_of(name, live))
        ledger.sweeps.forget_ended(name)
    else:
        feed(ledger, storage, sweep, workers)
        ring_lost(ledger, storage, sweep)


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
        done_before=live.done_before,
    )
