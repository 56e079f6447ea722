"""Does again what of a sweep did not succeed: on the storage first, which is the truth, then in the index.

A run is opened again by renaming its `run.json`; what it published stays, so it goes on where it ended. Killed at any
moment and called again, this does what was left: a run without an end that is not in flight is one to be done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pipeline_queue.contract.errors import InputError, StorageError
from pipeline_queue.contract.records import Scalar
from pipeline_queue.index.live_sweeps import LiveSweep
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.model.conditions import Condition, parse
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.results import parameter_column
from pipeline_queue.storage.at_once import at_once
from pipeline_queue.storage.layout import CANCELLED, RUN_END
from pipeline_queue.storage.run_store import RunStore, StoredRun
from pipeline_queue.submitting.feeder import feed
from pipeline_queue.submitting.recovery import restore_sweep

_SETTLE_SECONDS = 5.0
_INTERVAL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which runs were asked for."""

    sweep: Sweep
    only: int | None
    condition: Condition | None

    @property
    def is_all(self) -> bool:
        return self.only is None and self.condition is None

    def takes(self, index: int, state: str) -> bool:
        if self.only is not None and index != self.only:
            return False
        if self.condition is None:
            return True
        row: dict[str, Scalar | None] = {"index": index, "state": state}
        row.update({parameter_column(name): value for name, value in self.sweep.space[index].items()})
        return self.condition.holds(row)


@dataclass(frozen=True, slots=True)
class _Known:
    """A run that has a folder: what it ended as, or did before it was last retried; '' when it never ended."""

    index: int
    paths: StoredRun
    state: str
    has_ended: bool
    was_retried: bool


@dataclass(frozen=True, slots=True)
class _Told:
    """Who is told of what happens."""

    reopened: Callable[[], None]
    progress: Callable[[int], None]


def retry(
    run_index: RunIndex,
    storage: RunStore,
    sweep: Sweep,
    only: int | None = None,
    where: str | None = None,
    reopened: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Has runs of the sweep done again: `only` one of them, or those for which `where` holds; how many.

    `reopened` is called when there are any, once the storage has them open and before they are enqueued; `progress`
    with how many of them the storage has open so far.
    Raises InputError for a condition that cannot be read and for a sweep that is still stopping.
    """
    names = [parameter_column(parameter.name) for parameter in sweep.pipeline.parameters]
    choice = _Choice(sweep, only, parse(where, ["index", "state", *names]) if where else None)
    live = _wait_until_settled(run_index, storage, sweep)
    run_index.sweeps.shared.forget(sweep.record.id)
    if live is not None and live.ended_at is None:
        return _retry_running(run_index, storage, choice, _Told(reopened, progress))
    return _retry_ended(run_index, storage, choice, live is not None, _Told(reopened, progress))


def _wait_until_settled(run_index: RunIndex, storage: RunStore, sweep: Sweep) -> LiveSweep | None:
    """What the index knows, once nobody is about to write down the end of the sweep any more."""
    name = sweep.record.id
    until = time.monotonic() + _SETTLE_SECONDS
    while True:
        live = run_index.sweeps.read(name)
        if live is None or (live.ended_at is None and live.state in ("running", "paused")):
            return live
        if live.ended_at is not None and (name not in run_index.sweeps.unended() or not run_index.workers.live()):
            return live
        if time.monotonic() > until:
            if live.ended_at is not None:
                return live
            raise InputError(f"sweep {name} is still stopping; retry it when its last runs have ended")
        time.sleep(_INTERVAL_SECONDS)


def _retry_running(run_index: RunIndex, storage: RunStore, choice: _Choice, told: _Told) -> int:
    """The sweep goes on: what has ended of it joins what waits."""
    sweep = choice.sweep
    name = sweep.record.id
    ended = {
        run.index: run
        for run in _known(storage, name)
        if run.state in ("failed", "cancelled") and choice.takes(run.index, run.state)
        if run.has_ended or run.was_retried
    }
    # Looked at after the storage: a run that is written down as ended and still in flight is about to be counted.
    flight = run_index.sweeps.in_flight(name)
    again = {index: run for index, run in ended.items() if index not in flight}
    chosen = storage.retry_choice(name)
    if chosen is not None:
        storage.choose_retry(name, chosen | again.keys())
    _reopen((run.paths for run in again.values()), told.progress)
    if again:
        told.reopened()
    count = run_index.sweeps.reopened(name, {index: run.state for index, run in again.items()})
    feed(run_index, storage, sweep, run_index.workers.live())
    return count


def _retry_ended(run_index: RunIndex, storage: RunStore, choice: _Choice, has_ended: bool, told: _Told) -> int:
    """The sweep has ended, or the index has lost it: it is opened again and restored from the storage."""
    sweep = choice.sweep
    name, total = sweep.record.id, len(sweep.space)
    again: dict[int, StoredRun | None] = {}
    begun = bytearray(total)
    for run in _known(storage, name):
        if run.index >= total:
            continue
        begun[run.index] = True
        succeeded = run.has_ended and run.state == "succeeded"
        if not succeeded and choice.takes(run.index, run.state or "cancelled"):
            again[run.index] = run.paths
    for index in range(total) if choice.only is None else (choice.only,):
        if not begun[index] and choice.takes(index, "cancelled"):
            again[index] = None
    has_ended = has_ended or total == 1 or storage.sweep_end(name) is not None
    if not again and has_ended:
        return 0
    former = None if has_ended else storage.retry_choice(name)
    if has_ended:
        storage.choose_retry(name, None if choice.is_all or total == 1 else again)
    elif former is not None:
        storage.choose_retry(name, None if choice.is_all else former | again.keys())
    _reopen(filter(None, again.values()), told.progress)
    storage.reopen_sweep(name)
    told.reopened()
    run_index.sweeps.drop_ended(name, again)
    restore_sweep(run_index, storage, sweep)
    return len(again)


def _reopen(runs: Iterable[StoredRun], progress: Callable[[int], None]) -> None:
    for count, _ in enumerate(at_once(lambda run: run.reopen(), runs), start=1):
        progress(count)


def _known(storage: RunStore, name: str) -> Iterator[_Known]:
    return at_once(_look_at, storage.runs(name))


def _look_at(run: tuple[int, StoredRun]) -> _Known:
    """Raises StorageError."""
    index, paths = run
    try:
        names = paths.names()
        end = paths.end() if RUN_END in names else None
        former = end or paths.former_end(names)
    except OSError as error:
        raise StorageError(f"cannot read {paths.where()}: {error.strerror}") from error
    state = former.state if former else "cancelled" if CANCELLED in names else ""
    return _Known(index, paths, state, end is not None, former is not None and end is None)
