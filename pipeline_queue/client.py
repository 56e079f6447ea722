"""The Python API: load, submit, wait, watch, read.

    from pipeline_queue.client import Client

    with Client.local() as client:                       # or Client.connect() for a configured broker
        pipeline = client.load("pipeline.yaml")
        run = client.submit(pipeline, {"learning_rate": 0.01})
        report = client.wait(run)
        print(report.state, client.metrics(run), client.outputs(run))

Every method raises errors of `pipeline_queue.contract.errors` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_queue.contract.errors import InputError, NotFoundError, PipelineQueueError, Place, RunFailedError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.settings import Settings, settings_from
from pipeline_queue.contract.states import ENDED
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.index.backend import Backend
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.worker_registry import LiveWorker
from pipeline_queue.model.parameters import Given
from pipeline_queue.model.pipeline import Value
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting import names
from pipeline_queue.reporting.current import CurrentState
from pipeline_queue.reporting.results import Row, read_rows
from pipeline_queue.reporting.runs import find_steps, metrics_of
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, SweepReport, add_reasons
from pipeline_queue.reporting.trace import Traced
from pipeline_queue.reporting.waiting import MAX_SWEEP_POLL_SECONDS, Event, becomes_idle, changes_of, wait_for_end
from pipeline_queue.storage.storage import Storage
from pipeline_queue.storage.submitted_environment import EnvironmentFolder

if TYPE_CHECKING:
    from pipeline_queue.loading.loader import LoadedPipeline
    from pipeline_queue.reporting.cluster import ClusterReport
    from pipeline_queue.reporting.explain import Explanation
    from pipeline_queue.submitting.submission import Submission


class Client:
    """Talks to one storage and, unless it only reads ended runs, to one broker. Thread-safe for reading."""

    def __init__(self, storage: Path, settings: Settings | None) -> None:
        """`settings` None: no broker; reading works, submitting and cancelling raise BrokerError."""
        self._backend = Backend(storage, settings)
        self._run_index = self._backend.run_index
        self._environments = EnvironmentFolder(settings.environments) if settings and settings.environments else None
        self._current = CurrentState(self._run_index)

    @classmethod
    def connect(cls, environment: Mapping[str, str] | None = None) -> Client:
        """A client for the broker and storage that the two settings name. Raises SettingsError."""
        settings = settings_from(os.environ if environment is None else environment)
        return cls(settings.storage, settings)

    @classmethod
    @contextmanager
    def local(
        cls, folder: Path | str | None = None, slots: int | None = None, say: Callable[[str], None] = lambda _: None
    ) -> Iterator[Client]:
        """A client of the embedded server and worker, which live at least as long as the block.

        `folder` is where `pipeline-queue-data` is (the current folder by default), `slots` how many steps run at a
        time (one for each CPU by default). `say` receives a message about each slow operation. Raises BrokerError and
        StorageError.
        """
        from pipeline_queue.local.attach import attached_service, wait_until_ended
        from pipeline_queue.local.folder import DataFolder

        data = DataFolder.of(os.environ, Path(folder) if folder else Path.cwd())
        with attached_service(data, slots, say) as note:
            client = cls(data.storage, data.settings(note.broker_url))
            try:
                yield client
            finally:
                idle = note.while_needed and becomes_idle(client._live())
                client.close()
        if idle:
            wait_until_ended(data, note)

    def close(self) -> None:
        if self._run_index:
            self._run_index.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, path: Path | str) -> LoadedPipeline:
        """Raises PipelineFileError with every problem of the file."""
        from pipeline_queue.loading.loader import load_pipeline

        return load_pipeline(Path(path))

    def prepare(self, pipeline: LoadedPipeline, values: Mapping[str, Value | Sequence[Value] | Given]) -> Submission:
        """Checks the values and packs the pipeline's folder; writes nothing.

        Raises ValuesError and SnapshotError.
        """
        from pipeline_queue.submitting.submission import prepare_run

        given = {
            name: value if isinstance(value, Given) else Given(value, Place(f"values['{name}']"))
            for name, value in values.items()
        }
        return prepare_run(pipeline, given, self._backend.root)

    def publish(self, pipeline: LoadedPipeline, name: str) -> None:
        """Stores the pipeline and its folder under a name, for `POST /api/pipelines/NAME/runs`. Raises InputError."""
        from pipeline_queue.submitting.published import publish

        publish(self._writable(), pipeline, name, self._backend.root)

    def submit(
        self,
        pipeline: LoadedPipeline | Submission,
        values: Mapping[str, Value | Sequence[Value] | Given] | None = None,
    ) -> str:
        """Accepts one run, enqueues it and returns its id.

        The run is durable once this returns: its record is on the storage, whatever happens to the broker.
        Raises ValuesError, SnapshotError, BrokerError and StorageError. An error raised before the record is written
        leaves nothing behind.
        """
        from pipeline_queue.submitting.submission import Submission

        submission = pipeline if isinstance(pipeline, Submission) else self.prepare(pipeline, values or {})
        with submission.snapshot:
            return str(RunId(self.submit_sweep(submission), 0))

    def submit_sweep(self, submission: Submission, note: Callable[[str], None] | None = None) -> str:
        """Accepts a prepared sweep, enqueues its first runs and returns its id. Raises the errors of `submit`.

        The embedded service starts the sweep's steps with this process's environment and Python. `note` receives a
        sentence if a sweep of this name was accepted earlier with another environment, which it keeps.
        """
        from pipeline_queue.submitting.starting import accept

        with submission.snapshot:
            run_index, storage = self._live(), self._writable()
            self._backend.check_signing_key()
            sweep = accept(run_index, storage, submission, self._environments, note or (lambda _: None))
        return sweep.record.id

    def sweep(self, sweep: str) -> SweepReport:
        """The sweep as it is now. Raises NotFoundError."""
        storage = self._storage()
        return self._current.sweep(storage, names.find_sweep(storage, sweep))

    def with_reasons(self, report: SweepReport) -> SweepReport:
        """The report, with the reason why the example of each of its most frequent causes failed."""
        storage = self._storage()
        return add_reasons(storage, names.find_sweep(storage, report.sweep), report)

    def is_sweep(self, text: str) -> bool:
        """Whether `text` names a sweep of several runs as a whole, not one run of it. Raises NotFoundError."""
        return names.names_a_sweep(self._storage(), text)

    def wait_sweep(self, sweep: str, timeout_seconds: float | None = None) -> SweepReport:
        """The sweep once it has ended. Raises TimeoutError."""
        look, poll_seconds = (lambda: self.sweep(sweep)), MAX_SWEEP_POLL_SECONDS
        return wait_for_end(look, ENDED_SWEEP, lambda found: f"sweep {found.sweep}", timeout_seconds, poll_seconds)

    def cancel_sweep(self, sweep: str) -> SweepReport:
        """Starts no more steps of the sweep and stops running ones within seconds; returns the sweep."""
        from pipeline_queue.submitting.control import cancel_sweep

        found = self._find_sweep(sweep)
        cancel_sweep(self._live(), self._writable(), found)
        return self.sweep(found.record.id)

    def retry(
        self,
        text: str,
        where: str | None = None,
        note: Callable[[int], None] | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> SweepReport:
        """Re-runs failed, cancelled and lost runs, each from its first unpublished step; the sweep as it is then.

        `text` names a sweep or one run; `where` selects runs by their parameters, `state` and `index`. Runs in flight
        are not touched. From then on, the embedded service starts the sweep's steps with this process's environment
        and Python. `progress` receives the number of runs reopened so far, `note` the final number. Raises
        NotFoundError, and InputError for an invalid condition or a sweep that is being cancelled.
        """
        from pipeline_queue.submitting.retry import retry
        from pipeline_queue.submitting.starting import take_environment

        run = RunId.parse(self.resolve(text))
        found = self._find_sweep(run.sweep)
        only = None if len(found.space) == 1 or self.is_sweep(text) else found.run_id(run.index).index

        def send() -> None:
            if self._environments:
                take_environment(self._environments, run.sweep)

        count = retry(self._live(), self._writable(), found, only, where, send, progress)
        if note:
            note(count)
        return self.sweep(run.sweep)

    def forget(self, text: str) -> str:
        """Deletes a sweep, or a single run, that has ended, with all its files; its id. This cannot be undone.

        Deletes its snapshot too if no other sweep names it. Raises NotFoundError, StorageError, and InputError when
        the sweep has not ended.
        """
        from pipeline_queue.submitting.control import delete_sweep

        found = self._find_sweep(text)
        name = found.record.id
        if len(found.space) > 1 and not self.is_sweep(text):
            raise InputError(f"{text} is one run of sweep {name}; only the whole sweep can be forgotten")
        delete_sweep(self._run_index, self._writable(), found)
        return name

    def forget_reused(self, older_than_seconds: float) -> tuple[int, int]:
        """Deletes unlinked steps with `reuse: always` of this age; how many it deleted, kept. Raises StorageError."""
        return self._writable().remove_reused(older_than_seconds)

    def pause_sweep(self, sweep: str) -> SweepReport:
        """Starts no more steps; running ones continue. Raises InputError when the sweep is not running."""
        from pipeline_queue.submitting.control import pause_sweep

        found = self._find_sweep(sweep)
        pause_sweep(self._live(), self._writable(), found)
        return self.sweep(found.record.id)

    def resume_sweep(self, sweep: str) -> SweepReport:
        """Continues a paused sweep. Raises InputError when it is not paused."""
        from pipeline_queue.submitting.control import resume_sweep

        found = self._find_sweep(sweep)
        resume_sweep(self._live(), self._writable(), found)
        return self.sweep(found.record.id)

    def run(self, run: str) -> RunRecord:
        """The run as it is now; its paths are absolute. Raises NotFoundError."""
        storage = self._storage()
        return self._current.run(storage, *names.find_run(storage, run))

    def runs(self) -> Iterator[RunRecord]:
        """Every run, newest sweep first, without those whose record is damaged."""
        yield from self._current.runs(self._storage())

    def runs_of(self, sweep: str) -> Iterator[RunRecord]:
        """The started runs of a sweep, by index, without those whose record is damaged. Raises NotFoundError."""
        yield from self._current.runs_of(self._storage(), self._find_sweep(sweep))

    def overview(self) -> Iterator[RunRecord | SweepReport]:
        """Every sweep, newest first, without damaged ones; a sweep of a single run as that run."""
        yield from self._current.overview(self._storage())

    def events(self, run: str) -> Iterator[Event]:
        """Every change from now on until the run has ended; the first events are its present state."""
        yield from changes_of(lambda: self.run(run))

    def wait(self, run: str, timeout_seconds: float | None = None, check: bool = False) -> RunRecord:
        """The run once it has ended. Raises TimeoutError, and with `check` RunFailedError unless it succeeded."""
        report = wait_for_end(lambda: self.run(run), ENDED, lambda found: f"run {found.run}", timeout_seconds)
        if check and report.state != "succeeded":
            raise RunFailedError(f"run {report.run} {report.state}: {report.message}")
        return report

    def outputs(self, run: str) -> dict[str, Path]:
        """Step -> the folder of its published files, for the steps that have published any."""
        return {step.name: Path(step.outputs) for step in self.run(run).steps if step.outputs}

    def metrics(self, run: str) -> dict[str, float]:
        """The numbers that the run's steps wrote to `metrics.json`; a later step wins."""
        return metrics_of(self.traced(run).steps)

    def results(self, sweep: str, note: Callable[[str], None] | None = None) -> list[Row]:
        """The runs of a sweep that have ended, by index; `pandas.DataFrame(to_columns(rows))` takes them.

        `note` receives a sentence for each record that cannot be read. Raises NotFoundError and StorageError.
        """
        return read_rows(self._storage(), RunId.parse(self.resolve(sweep)).sweep, note)

    def traced(self, run: str) -> Traced:
        """The run with its steps' manifests, as `trace` and `compare` need it."""
        sweep, run_id = self._find(run)
        paths = sweep.paths(self._storage(), run_id)
        return Traced(self.run(str(run_id)), sweep.pipeline, find_steps(sweep, paths, paths.names()))

    def explain(self, run: str, step: str, against: str | None = None) -> Explanation:
        """Why the run executed a step or reused another's, and in what its identity differs from the nearest run's.

        `against` names the run to compare with. Raises NotFoundError, and InputError for an unknown step.
        """
        from pipeline_queue.reporting.explain import explain

        sweep, run_id = self._find(run)
        return explain(self._storage(), sweep, run_id, step, self._find(against) if against else None)

    def logs(self, run: str, step: str) -> Path | None:
        """The log of the step's published or latest attempt, None when there is none. Raises NotFoundError."""
        for summary in self.run(run).steps:
            if summary.name == step:
                return Path(summary.log) if summary.log else None
        raise NotFoundError(f"run {run} has no step '{step}'")

    def cancel(self, run: str) -> RunRecord:
        """Stops a run, and its running steps within seconds; returns the run."""
        from pipeline_queue.submitting.control import cancel_run

        cancel_run(self._live(), self._storage(), *self._find(run))
        return self.run(run)

    def unfinished(self) -> int:
        """How many accepted runs the broker knows of that have not ended."""
        return self._live().active()

    def has_work(self) -> bool:
        """Whether any run that the broker knows of has yet to end."""
        return self._live().sweeps.has_work()

    def workers(self) -> list[LiveWorker]:
        """The workers that announced themselves in the last 15 s."""
        return self._live().workers.live()

    def cluster(self) -> ClusterReport:
        """The workers with the steps they execute, the queues, and the checks of `doctor`. Raises BrokerError."""
        from pipeline_queue.reporting.cluster import ClusterReader

        return ClusterReader(self._backend).read()

    @property
    def storage_root(self) -> Path:
        return self._backend.root

    def is_served(self) -> bool:
        """Whether any worker is alive; also False without a broker."""
        return bool(self._run_index and self.workers())

    def warm_python(self) -> WarmPython:
        """The totals over all live workers; empty without a broker."""
        return sum((worker.warm for worker in self.workers()), WarmPython()) if self._run_index else WarmPython()

    def holds(self) -> list[tuple[str, str]]:
        """(worker, reason) for every reason why a worker takes no steps now; empty without a broker."""
        workers = self._run_index.workers.live() if self._run_index else []
        return [(worker.name, hold) for worker in workers for hold in worker.holds]

    def unserved_queues(self, pipeline: LoadedPipeline) -> dict[str, str]:
        """Step -> its queue, for the steps whose queue no live worker serves."""
        served = {queue for worker in self.workers() for queue in worker.queues}
        return {step.name: step.queue for step in pipeline.pipeline.steps if step.queue not in served}

    def queues(self, sweep: str) -> set[str]:
        """The queues that the steps of a sweep need. Raises NotFoundError."""
        return {step.queue for step in self._find_sweep(sweep).pipeline.steps}

    def serve_queues(self, queues: set[str]) -> None:
        """Makes every live worker serve these queues too; for the embedded service."""
        from pipeline_queue.index.broadcast import serve_queues

        self._live()
        assert self._backend.settings is not None
        serve_queues(self._backend.settings.broker_url, queues)

    def resolve(self, text: str) -> str:
        """The full id of the run that `text` means: an id, a sweep's id or name (its run 0), a unique part, or `last`.

        Raises NotFoundError.
        """
        return names.resolve(self._storage(), text)

    def _find(self, text: str) -> tuple[Sweep, RunId]:
        return names.find_run(self._storage(), text)

    def _find_sweep(self, text: str) -> Sweep:
        return names.find_sweep(self._storage(), text)

    def _live(self) -> RunIndex:
        return self._backend.live()

    def _writable(self) -> Storage:
        return self._backend.writable()

    def _storage(self) -> Storage:
        return self._backend.readable()


__all__ = ["Client", "Event", "PipelineQueueError", "RunRecord"]
