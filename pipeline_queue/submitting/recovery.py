"""Restores sweeps from the storage: after a server came back empty, nothing accepted is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline_queue.contract.errors import NotFoundError, StorageAwayError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import spans_of
from pipeline_queue.index.live_sweeps import Opening
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.at_once import at_once
from pipeline_queue.storage.layout import CANCELLED, RUN_END
from pipeline_queue.storage.run_store import RunStore, StoredRun
from pipeline_queue.submitting.feeder import feed

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """What was restored: how many runs, and the queues that their steps need.

    `failed`: how many sweeps could not be read just now, and are to be tried again.
    """

    runs: int = 0
    failed: int = 0
    queues: set[str] = field(default_factory=set)


def recover_unfinished(storage: RunStore, run_index: RunIndex) -> Recovered:
    """Restores every sweep of the storage that has not ended. Raises BrokerError, StorageError."""
    recovered = Recovered()
    for name in storage.sweeps():
        try:
            sweep = Sweep.read(storage, name)
            unfinished = restore_sweep(run_index, storage, sweep)
        except NotFoundError:
            continue  # its submitter was stopped before the commit point: it does not exist
        except (StorageAwayError, OSError) as error:
            logger.error("skip sweep=%s for now: %s", name, error)
            recovered.failed += 1
            continue
        except StorageError as error:
            logger.error("skip sweep: %s", error)
            continue
        if unfinished:
            recovered.runs += unfinished
            recovered.queues |= {step.queue for step in sweep.pipeline.steps}
    return recovered


def restore_sweep(run_index: RunIndex, storage: RunStore, sweep: Sweep) -> int:
    """Makes a sweep known to the index as the storage has it, and enqueues it; how many runs have not ended.

    Safe to repeat, and for a sweep that was never begun. Raises BrokerError, StorageError.
    """
    name, total = sweep.record.id, len(sweep.space)
    if storage.sweep_end(name) is not None:
        return 0
    ended: dict[int, str] = {}
    measured: list[tuple[int, Mapping[str, float]]] = []
    cursor = 0
    for index, state, metrics in at_once(_end_of, storage.runs(name)):
        cursor = max(cursor, index + 1)
        if state is not None:
            ended[index] = state
        if state == "succeeded":
            measured.append((index, metrics))
    cancelled = storage.is_cancelled(name)
    if len(ended) == total == 1:
        return 0
    chosen = storage.retry_choice(name)
    started = range(cursor) if chosen is None else sorted(chosen)
    again = [index for index in started if index not in ended]
    passed_over = 0
    if chosen is not None:
        # A part of an ended sweep is done again: the rest stays as it is.
        cursor, passed_over = total, total - len(ended) - len(again)
    states = list(ended.values())
    allowed = sweep.failures_allowed()
    stopped = allowed is not None and states.count("failed") > allowed
    is_over = (cursor == total or stopped) and not again
    if not is_over and not cancelled:
        # A server that came back with an older memory may know a sweep as ended that was opened again since.
        run_index.sweeps.drop_ended(name, again)
    is_paused = storage.is_paused(name)
    opening = Opening(
        sweep=name,
        total=total,
        max_parallel=sweep.settings.max_parallel,
        max_failures=allowed,
        state="stopped" if stopped else "paused" if is_paused else "running",
        cursor=cursor,
        succeeded=states.count("succeeded"),
        failed=states.count("failed"),
        cancelled=states.count("cancelled") + passed_over,
    )
    is_new = run_index.sweeps.open(opening)
    if total > 1:
        run_index.sweeps.note_unended(name)  # its end is to be written down, also when it is known as ended
    # Also of one that was not known: what is in flight may have stayed.
    run_index.sweeps.restore(opening, ended)
    if measured:
        run_index.sweeps.note_metrics(name, spans_of(measured), len(measured))
    if cancelled or is_over:
        run_index.sweeps.cancel(name) if cancelled else run_index.sweeps.end(name)
        return 0
    if not is_new:
        run_index.sweeps.pause(name) if is_paused else run_index.sweeps.resume(name)
    _forget_untrue_ends(run_index, storage, sweep, again)
    run_index.sweeps.reopened(name, dict.fromkeys(again, ""))
    run_index.sweeps.note_published(_published(storage, sweep, run_index.sweeps.in_flight(name) & frozenset(again)))
    feed(run_index, storage, sweep, run_index.workers.live())
    return total - len(ended) - passed_over


def _forget_untrue_ends(run_index: RunIndex, storage: RunStore, sweep: Sweep, indexes: Iterable[int]) -> None:
    """Of runs that have not ended on the storage: they are done. What has ended since it was read is left alone."""
    for run in run_index.sweeps.ended(sweep.run_id(index) for index in indexes):
        paths = sweep.paths(storage, run)
        if not paths.names() & {RUN_END, CANCELLED}:
            logger.warning("drop index of run=%s: it has not ended on the storage", run)
            run_index.forget_run(run)


def _published(storage: RunStore, sweep: Sweep, indexes: Iterable[int]) -> dict[RunId, int]:
    """How many of their first steps are published, of runs that workers had in hand while the server was emptied."""
    published = {}
    for run in (sweep.run_id(index) for index in indexes):
        with suppress(OSError, StorageError):  # then its next step says so
            published[run] = len(sweep.pipeline.published(sweep.paths(storage, run).names()))
    return published


def _end_of(run: tuple[int, StoredRun]) -> tuple[int, str | None, Mapping[str, float]]:
    """Its index, how it ended, None while it has not, and its metrics.

    One whose end is damaged has failed: its sweep goes on without it.
    """
    index, paths = run
    try:
        end = paths.end()
    except StorageAwayError:
        raise
    except StorageError as error:
        logger.error("count run as failed: %s", error)
        return index, "failed", {}
    return (index, end.state, end.metrics) if end else (index, None, {})
