"""Enqueues runs in flight whose message is lost: a worker took it from the queue and died, or it never arrived.

A run in flight has a lease, a waiting retry, or a message in a queue. The rescuer enqueues a run that has had none of
them for some seconds. That is always safe: if the message was only on its way, the claim rejects the duplicate.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline_queue.broker.message import lists_of, run_of
from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.live_sweeps import LiveSweep
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.planner import remaining
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.submitting.canvas import enqueue
from workers.context import SweepCache

logger = logging.getLogger(__name__)

_LOST_SECONDS = 5.0
_MAX_RUNS = 500
_MAX_OF_TIME = 0.1


class Queued:
    """The runs that have a message in a queue. Reads each Redis list once, when it is first needed."""

    def __init__(self, run_index: RunIndex) -> None:
        self._run_index = run_index
        self._runs: dict[str, set[RunId]] = {}

    def has(self, run: RunId, names: Iterable[str]) -> bool:
        return any(run in self._read(name) for name in names)

    def add(self, run: RunId, name: str) -> None:
        """Notes that a message was sent after the list was read."""
        self._read(name).add(run)

    def _read(self, name: str) -> set[RunId]:
        if name not in self._runs:
            found = map(run_of, self._run_index.sweeps.queued_messages(name))
            self._runs[name] = {run for run in found if run is not None}
        return self._runs[name]


@dataclass(frozen=True, slots=True)
class _Suspects:
    """Runs of one sweep without a lease or waiting retry, and the Redis lists in which their messages may be."""

    sweep: str
    runs: list[RunId]
    lists: tuple[str, ...]


class Rescuer:
    """Collects the suspects of every sweep first, then reads the queues once for all sweeps."""

    def __init__(self, run_index: RunIndex, storage: RunStore, sweeps: SweepCache) -> None:
        self._run_index = run_index
        self._storage = storage
        self._sweeps = sweeps
        self._suspects: list[_Suspects] = []
        self._every_seconds = _LOST_SECONDS

    def may_be_in(self, live: LiveSweep) -> bool:
        """Whether a run of the sweep may be lost and has to be checked again."""
        return live.unseen_seconds is not None and live.unseen_seconds >= self._every_seconds

    def look_at(self, sweep: Sweep) -> None:
        """Collects the sweep's suspects. Raises BrokerError."""
        name, steps = sweep.record.id, sweep.pipeline.steps
        runs = self._run_index.sweeps.untracked(name, [step.name for step in steps], self._every_seconds, _MAX_RUNS)
        if runs:
            lists = tuple(name for queue in sorted({step.queue for step in steps}) for name in lists_of(queue))
            self._suspects.append(_Suspects(name, runs, lists))

    def enqueue(self) -> int:
        """Enqueues the lost runs among all suspects. Returns how many. Raises BrokerError."""
        suspects, self._suspects = self._suspects, []
        began = time.monotonic()
        queued = Queued(self._run_index)
        lost = [(one.sweep, run) for one in suspects for run in one.runs if not queued.has(run, one.lists)]
        # Long queues are read less often.
        self._every_seconds = max(_LOST_SECONDS, (time.monotonic() - began) / _MAX_OF_TIME)
        return sum(self._enqueue(sweep, run) for sweep, run in lost)

    def _enqueue(self, name: str, run: RunId) -> bool:
        """Enqueues one run. If it cannot be read now, it is checked again in a while and does not block the others."""
        try:
            return enqueue_unless_ended(self._run_index, self._storage, self._sweeps.get(name), run)
        except NotFoundError:
            self._run_index.sweeps.leave_flight(run)  # the sweep was just forgotten, or never had this run
            return False
        except (StorageError, OSError) as error:
            logger.warning("skip enqueue run=%s: %s", run, error)
            return False


def enqueue_unless_ended(run_index: RunIndex, storage: RunStore, sweep: Sweep, run: RunId) -> bool:
    """Enqueues the run from its first unpublished step, or tells the index that it has ended."""
    paths = sweep.paths(storage, run)
    end = paths.end()
    if end is not None:
        # The worker that wrote the end died before it could update the index.
        run_index.close_run(run, end.state)
        return False
    todo = remaining(sweep.pipeline, run, sweep.parameters(run), paths.names())
    logger.info("enqueue run=%s step=%s", run, todo[0].step)
    enqueue(run_index, sweep.pipeline, todo)
    return True
