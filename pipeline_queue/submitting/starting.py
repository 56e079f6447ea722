"""Accepts a prepared sweep and starts it: its environment, its record, its place in the index, its first runs."""

from __future__ import annotations

from collections.abc import Callable

from pipeline_queue.index.live_sweeps import Opening
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.submitted_environment import EnvironmentFolder, SubmittedEnvironment
from pipeline_queue.submitting.feeder import feed
from pipeline_queue.submitting.recovery import restore_sweep
from pipeline_queue.submitting.submission import Submission

_MAX_NAMES_SHOWN = 5


def accept(
    run_index: RunIndex,
    storage: RunStore,
    submission: Submission,
    environments: EnvironmentFolder | None,
    note: Callable[[str], None] = lambda _: None,
    environment: SubmittedEnvironment | None = None,
) -> Sweep:
    """Writes the sweep's record, which accepts it, and enqueues its first runs. Raises BrokerError and StorageError.

    `environment`: what the embedded service starts the steps with, None for this process's.

    If this process ends after the record is written, the reconciler starts the sweep.
    """
    now = run_index.time()

    def prepare(name: str) -> None:
        run_index.sweeps.note_submission(name, now)
        if environments:
            _keep_environment(storage, environments, name, environment or SubmittedEnvironment.of_this_process(), note)

    sweep = submission.commit(storage, prepare)
    start(run_index, storage, sweep, is_new=not submission.name)
    run_index.sweeps.forget_submission(sweep.record.id)
    return sweep


def start(run_index: RunIndex, storage: RunStore, sweep: Sweep, is_new: bool) -> None:
    """Makes the sweep known and enqueues its first runs; one that may have been begun is read from the storage."""
    name = sweep.record.id
    if not is_new and run_index.sweeps.read(name) is None:
        restore_sweep(run_index, storage, sweep)
        return
    settings = sweep.settings
    run_index.sweeps.open(Opening(name, len(sweep.space), settings.max_parallel, sweep.failures_allowed()))
    feed(run_index, storage, sweep, run_index.workers.live())


def take_environment(environments: EnvironmentFolder, sweep: str) -> None:
    """From now on, the embedded service starts the sweep's steps with this process's environment and Python."""
    environments.write(sweep, SubmittedEnvironment.of_this_process())


def _keep_environment(
    storage: RunStore,
    environments: EnvironmentFolder,
    sweep: str,
    mine: SubmittedEnvironment,
    note: Callable[[str], None],
) -> None:
    """Stores the environment for the sweep, unless it was accepted earlier under its name with another.

    `note` receives the sentence that says so.
    """
    known = environments.read(sweep) if storage.has_sweep(sweep) else None
    if known is None:
        environments.write(sweep, mine)
    elif differing := mine.differences(known):
        note(
            f"{sweep} was submitted with another environment, which its steps keep (different: "
            f"{', '.join(differing[:_MAX_NAMES_SHOWN])}); `pipeline-queue retry {sweep}` takes this one"
        )
