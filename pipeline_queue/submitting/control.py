"""Cancels, pauses, resumes and deletes: on the storage first, which is the truth, then in the index."""

from __future__ import annotations

from pathlib import Path

from pipeline_queue.contract.errors import InputError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.current import CurrentState
from pipeline_queue.reporting.runs import end_of_run, find_steps
from pipeline_queue.reporting.sweeps import ENDED_SWEEP
from pipeline_queue.storage.access import describe_failed
from pipeline_queue.storage.run_store import RunStore

# The modules that enqueue load Celery. Cancelling or deleting a run does without, so they are imported where needed.


def cancel_run(run_index: RunIndex, storage: RunStore, sweep: Sweep, run_id: RunId) -> None:
    """Asks for the end of a run that has not ended; writes the end if no step executes. Raises StorageError."""
    paths = sweep.paths(storage, run_id)
    if paths.end() is not None:
        return
    try:
        paths.request_cancel()
        if run_index.cancel(run_id) == "idle":
            steps = find_steps(sweep, paths, paths.names())
            paths.write_end(end_of_run(sweep, run_id, steps, "cancelled", "cancelled"))
    except OSError as error:
        raise StorageError(describe_failed(Path(paths.where()), error)) from error


def cancel_sweep(run_index: RunIndex, storage: RunStore, sweep: Sweep) -> None:
    """Asks for the end of a sweep that has not ended; paused runs are enqueued so that they end too."""
    from pipeline_queue.submitting.feeder import enqueue_held

    if _state(run_index, storage, sweep) in ENDED_SWEEP:
        return
    storage.request_cancel(sweep.record.id)
    run_index.sweeps.cancel(sweep.record.id)
    enqueue_held(run_index, storage, sweep)


def pause_sweep(run_index: RunIndex, storage: RunStore, sweep: Sweep) -> None:
    """Starts no more steps; running ones continue. Raises InputError when the sweep is not running."""
    _make_known(run_index, storage, sweep)
    if _state(run_index, storage, sweep) == "running":
        storage.set_paused(sweep.record.id, True)
    if not run_index.sweeps.pause(sweep.record.id):
        raise InputError(f"sweep {sweep.record.id} is not running ({_state(run_index, storage, sweep)})")


def resume_sweep(run_index: RunIndex, storage: RunStore, sweep: Sweep) -> None:
    """Continues a paused sweep. Raises InputError when it is not paused."""
    from pipeline_queue.submitting.feeder import enqueue_held
    from pipeline_queue.submitting.starting import start

    _make_known(run_index, storage, sweep)
    storage.set_paused(sweep.record.id, False)
    if not run_index.sweeps.resume(sweep.record.id):
        raise InputError(f"sweep {sweep.record.id} is not paused ({_state(run_index, storage, sweep)})")
    enqueue_held(run_index, storage, sweep)
    start(run_index, storage, sweep, is_new=False)


def delete_sweep(run_index: RunIndex | None, storage: RunStore, sweep: Sweep) -> None:
    """Deletes a sweep with all its files. Raises InputError when it has not ended."""
    name = sweep.record.id
    state = _state(run_index, storage, sweep)
    has_ended = state in ENDED_SWEEP
    if has_ended and run_index:
        has_ended = run_index.sweeps.drop_ended(name, [0] if len(sweep.space) == 1 else [])
    if not has_ended:
        raise InputError(f"{name} has not ended ({state}); cancel it first")
    if run_index:
        run_index.sweeps.note_forgotten(name)
    storage.delete_sweep(sweep.record)


def _make_known(run_index: RunIndex, storage: RunStore, sweep: Sweep) -> None:
    """Restores the sweep if the index has lost it and nobody has done so yet."""
    from pipeline_queue.submitting.starting import start

    name = sweep.record.id
    if run_index.sweeps.read(name) is None and storage.sweep_end(name) is None:
        start(run_index, storage, sweep, is_new=False)


def _state(run_index: RunIndex | None, storage: RunStore, sweep: Sweep) -> str:
    return CurrentState(run_index).sweep(storage, sweep).state
