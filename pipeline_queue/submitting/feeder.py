"""Takes a sweep's next runs into its window and enqueues them; what a submitter starts, workers keep going."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.worker_registry import LiveWorker
from pipeline_queue.planning.planner import messages, remaining
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.layout import RUN_END
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.submitting.canvas import START_PRIORITY, enqueue_new

logger = logging.getLogger(__name__)

_MIN_UNSTARTED = 8
_UNSTARTED_FOR_EACH_SLOT = 2
_MIN_IN_FLIGHT = 200
_IN_FLIGHT_FOR_EACH_SLOT = 20


@dataclass(frozen=True, slots=True)
class Window:
    """How many runs of a sweep may wait for their first step, and how many may be under way in all.

    The first keeps slots busy without putting much in front of another sweep; the second bounds what a slow later
    queue may hold in Redis.
    """

    unstarted: int
    in_flight: int


def window_for(workers: Iterable[LiveWorker], queue: str) -> Window:
    """The window of a sweep whose first step goes to `queue`."""
    live = list(workers)
    first = sum(worker.slots for worker in live if queue in worker.queues)
    every = sum(worker.slots for worker in live)
    return Window(
        unstarted=max(_MIN_UNSTARTED, _UNSTARTED_FOR_EACH_SLOT * first),
        in_flight=max(_MIN_IN_FLIGHT, _IN_FLIGHT_FOR_EACH_SLOT * every),
    )


def feed(run_index: RunIndex, storage: RunStore, sweep: Sweep, workers: Sequence[LiveWorker]) -> int:
    """Enqueues the next runs of a sweep until its window is full; how many. Raises BrokerError and StorageError."""
    window = window_for(workers, sweep.pipeline.steps[0].queue)
    fed = 0
    while True:
        taken = run_index.sweeps.allot(sweep.record.id, window.unstarted, window.in_flight, len(sweep.space))
        if not taken.again and not taken.fresh:
            return fed
        if taken.again:
            _enqueue_again(run_index, storage, sweep, taken.again)
        if taken.fresh:
            enqueue_runs(run_index, sweep, taken.fresh)
        fed += len(taken.again) + len(taken.fresh)


def enqueue_held(run_index: RunIndex, storage: RunStore, sweep: Sweep) -> None:
    """Has the runs go on that were held while the sweep was paused. Raises BrokerError and StorageError."""
    held = run_index.sweeps.release_held(sweep.record.id)
    if held:
        _enqueue_again(run_index, storage, sweep, held)


def _enqueue_again(run_index: RunIndex, storage: RunStore, sweep: Sweep, runs: Iterable[RunId]) -> None:
    """Enqueues runs from their first unpublished step, at the priority of first steps: other sweeps get theirs, too."""
    chains = []
    published: dict[RunId, int] = {}
    for run in runs:
        paths = sweep.paths(storage, run)
        try:
            end = paths.end()
            names = paths.names() - {RUN_END}
            todo = remaining(sweep.pipeline, run, sweep.parameters(run), names)
        except (StorageError, OSError) as error:
            # In flight without a message: the reconciler comes to it again.
            logger.warning("skip enqueue run=%s: %s", run, error)
            continue
        if end is not None:
            run_index.close_run(run, end.state)
        else:
            chains.append(todo)
            published[run] = len(sweep.pipeline.published(names))
    if chains:
        run_index.sweeps.note_published(published)
        enqueue_new(run_index, sweep.pipeline, chains, START_PRIORITY[sweep.settings.priority])


def enqueue_runs(run_index: RunIndex, sweep: Sweep, runs: Iterable[RunId]) -> None:
    """Enqueues runs from their first step. Raises BrokerError."""
    chains = (messages(sweep.pipeline, run, sweep.space[run.index]) for run in runs)
    enqueue_new(run_index, sweep.pipeline, chains, START_PRIORITY[sweep.settings.priority])
