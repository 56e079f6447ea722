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
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline_queue.contract.errors import (
    BrokerError,
    InputError,
    NotFoundError,
    PipelineQueueError,
    Place,
    RunFailedError,
    StorageAwayError,
    StorageError,
)
from pipeline_queue.contract.ids import RunId, is_sweep_id, named_sweep_id
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.settings import Settings, settings_from
from pipeline_queue.contract.states import ENDED
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.contract.wording import counted
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.storage_match import open_storage
from pipeline_queue.index.worker_registry import LiveWorker
from pipeline_queue.model.parameters import Given
from pipeline_queue.model.pipeline import Value
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.results import Row, read_rows
from pipeline_queue.reporting.runs import end_of_run, find_steps, read_run, with_wait
from pipeline_queue.reporting.sweep_progress import StepCounter
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, SweepReport, add_reasons, read_sweep
from pipeline_queue.reporting.trace import Traced
from pipeline_queue.storage.access import describe_failed
from pipeline_queue.storage.patience import WAITING, patient
from pipeline_queue.storage.storage import Storage
from pipeline_queue.storage.submitted_environment import EnvironmentFolder, SubmittedEnvironment

if TYPE_CHECKING:
    from pipeline_queue.loading.loader import LoadedPipeline
    from pipeline_queue.reporting.explain import Explanation
    from pipeline_queue.submitting.submission import Submission

_T = TypeVar("_T")

_FIRST_POLL_SECONDS = 0.02
_MAX_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 5.0
_MAX_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a run (`step` is None) or of one of its steps."""

    run: str
    step: str | None
    state: str
    attempts: int = 0
    seconds: float | None = None
    message: str = ""


class Client:
    """Talks to one storage and, unless it only reads what has ended, to one broker. Thread-safe for reading."""

    def __init__(self, storage: Path, settings: Settings | None) -> None:
        """`settings` None: no broker; reading works, submitting and cancelling raise BrokerError."""
        self._root = storage
        self._settings = settings
        self._run_index = RunIndex.of(settings) if settings else None
        self._environments = EnvironmentFolder(settings.environments) if settings and settings.environments else None
        self._opened: Storage | None = None
        self._steps: StepCounter | None = None

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
        time (one for each CPU by default). `say` is told what takes long. Raises BrokerError and StorageError.
        """
        from pipeline_queue.local.attach import attached_service, wait_until_ended
        from pipeline_queue.local.folder import DataFolder

        data = DataFolder.of(os.environ, Path(folder) if folder else Path.cwd())
        with attached_service(data, slots, say) as note:
            client = cls(data.storage, data.settings(note.broker_url))
            try:
                yield client
            finally:
                idle = note.while_needed and client._is_idle()
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
        """Checks everything a submission can be refused for and packs the folder; writes nothing.

        Raises ValuesError and SnapshotError.
        """
        from pipeline_queue.submitting.submission import prepare_run

        given = {
            name: value if isinstance(value, Given) else Given(value, Place(f"values['{name}']"))
            for name, value in values.items()
        }
        return prepare_run(pipeline, given, self._root)

    def submit(
        self,
        pipeline: LoadedPipeline | Submission,
        values: Mapping[str, Value | Sequence[Value] | Given] | None = None,
    ) -> str:
        """Accepts one run and puts it on the queue; its id.

        Once this returns the run is durable: its record is on the storage, whatever becomes of the broker.
        Raises ValuesError, SnapshotError, BrokerError and StorageError; before the record is written these leave
        nothing behind.
        """
        from pipeline_queue.submitting.submission import Submission

        submission = pipeline if isinstance(pipeline, Submission) else self.prepare(pipeline, values or {})
        with submission.snapshot:
            return str(RunId(self.submit_sweep(submission), 0))

    def submit_sweep(self, submission: Submission, note: Callable[[str], None] | None = None) -> str:
        """Accepts a prepared sweep and starts its first runs; its id. Errors as of `submit`.

        The embedded service starts its steps with this process's environment and Python. `note` is told when a sweep
        of this name was accepted with others, which it keeps.
        """
        with submission.snapshot:
            run_index, storage = self._live(), self._writable()
            now = run_index.time()
            self._check_signing_key()

            # Lost after the commit, it is started by the reconciler.
            def prepare(name: str) -> None:
                run_index.sweeps.note_submission(name, now)
                self._send_environment(name, note or (lambda _: None))

            sweep = submission.commit(storage, prepare)
        self._start(sweep, is_new=not submission.name)
        run_index.sweeps.forget_submission(sweep.record.id)
        return sweep.record.id

    def sweep(self, sweep: str) -> SweepReport:
        """The sweep as it is now. Raises NotFoundError."""
        return self._report_of(self._find_sweep(sweep))

    def _report_of(self, found: Sweep) -> SweepReport:
        live = self._run_index.sweeps.read(found.record.id) if self._run_index else None
        report = read_sweep(self._storage(), found, live)
        if self._run_index is None or live is None or not live.adds_up or report.state in ENDED_SWEEP:
            return report
        if self._steps is None:
            self._steps = StepCounter(self._run_index, self._storage())
        return self._steps.counted(found, live, report)

    def with_reasons(self, report: SweepReport) -> SweepReport:
        """The report with why the example of each of its most frequent causes failed."""
        return add_reasons(self._storage(), self._find_sweep(report.sweep), report)

    def is_sweep(self, text: str) -> bool:
        """Whether `text` names a sweep of several runs as a whole, not one run of it. Raises NotFoundError."""
        run = RunId.parse(self.resolve(text))
        return not _names_a_run(text) and len(Sweep.read(self._storage(), run.sweep).space) > 1

    def wait_sweep(self, sweep: str, timeout_seconds: float | None = None) -> SweepReport:
        """The sweep once it has ended. Raises TimeoutError."""
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while (report := _awaited(lambda: self.sweep(sweep))).state not in ENDED_SWEEP:
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"sweep {report.sweep} is still {report.state} after {timeout_seconds} s")
            time.sleep(_MAX_POLL_SECONDS / 4)
        return report

    def cancel_sweep(self, sweep: str) -> SweepReport:
        """Nothing of the sweep starts any more; what runs is ended within seconds. The sweep as it stands then."""
        found = self._find_sweep(sweep)
        run_index = self._live()
        if self.sweep(found.record.id).state not in ENDED_SWEEP:
            storage = self._writable()
            storage.request_cancel(found.record.id)
            run_index.sweeps.cancel(found.record.id)
            self._enqueue_held(found)
        return self.sweep(found.record.id)

    def retry(
        self,
        text: str,
        where: str | None = None,
        note: Callable[[int], None] | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> SweepReport:
        """Does what failed, was cancelled or was lost again, from its first unpublished step; the sweep as it is then.

        `text` names a sweep or one run; `where` chooses runs by their parameters, `state` and `index`. Runs that are
        under way are left alone. The embedded service starts the sweep's steps with this process's environment and
        Python from then on. `progress` is told how many runs are open again so far, `note` how many it is. Raises
        NotFoundError, and InputError for a condition that cannot be read or a sweep that is just being cancelled.
        """
        from pipeline_queue.submitting.retry import retry

        run = RunId.parse(self.resolve(text))
        found = Sweep.read(self._storage(), run.sweep)
        only = None if len(found.space) == 1 or self.is_sweep(text) else found.run_id(run.index).index
        send = partial(self._send_environment, run.sweep)
        count = retry(self._live(), self._writable(), found, only, where, send, progress)
        if note:
            note(count)
        return self.sweep(run.sweep)

    def forget(self, text: str) -> str:
        """Removes a sweep, or single run, that has ended, with all it left; its name. There is no way back.

        A snapshot that no other sweep names goes too. Raises NotFoundError, InputError when it has not ended, and
        StorageError.
        """
        found = self._find_sweep(text)
        name = found.record.id
        if len(found.space) > 1 and not self.is_sweep(text):
            raise InputError(f"{text} is one run of sweep {name}; only the whole sweep can be forgotten")
        state = self.sweep(name).state
        dropped = True
        if state in ENDED_SWEEP and self._run_index:
            dropped = self._run_index.sweeps.drop_ended(name, [0] if len(found.space) == 1 else [])
        if state not in ENDED_SWEEP or not dropped:
            raise InputError(f"{name} has not ended ({state}); cancel it first")
        if self._run_index:
            self._run_index.sweeps.note_forgotten(name)
        self._writable().delete_sweep(found.record)
        return name

    def forget_reused(self, older_than_seconds: float) -> tuple[int, int]:
        """Removes the steps published for all sweeps that no run links to any more; how many, and how many stay.

        What was made or used within the last `older_than_seconds` stays. Raises StorageError.
        """
        return self._writable().remove_reused(older_than_seconds)

    def pause_sweep(self, sweep: str) -> SweepReport:
        """No more steps are started; those that execute go on. Raises InputError when the sweep is not running."""
        found = self._find_sweep(sweep)
        self._make_known(found)
        if self.sweep(sweep).state == "running":
            self._writable().set_paused(found.record.id, True)
        if not self._live().sweeps.pause(found.record.id):
            raise InputError(f"sweep {found.record.id} is not running ({self.sweep(found.record.id).state})")
        return self.sweep(found.record.id)

    def resume_sweep(self, sweep: str) -> SweepReport:
        """Goes on with a paused sweep. Raises InputError when it is not paused."""
        found = self._find_sweep(sweep)
        self._make_known(found)
        self._writable().set_paused(found.record.id, False)
        if not self._live().sweeps.resume(found.record.id):
            raise InputError(f"sweep {found.record.id} is not paused ({self.sweep(found.record.id).state})")
        self._enqueue_held(found)
        self._start(found, is_new=False)
        return self.sweep(found.record.id)

    def run(self, run: str) -> RunRecord:
        """The run as it is now; paths in it are absolute. Raises NotFoundError."""
        return self._run_of(*self._find(run))

    def _run_of(self, sweep: Sweep, run_id: RunId) -> RunRecord:
        storage = self._storage()
        ended = sweep.paths(storage, run_id).end() is not None
        live = None if ended or self._run_index is None else self._run_index.run(run_id)
        report = read_run(storage, sweep, run_id, live)
        if ended or self._run_index is None or any(step.state == "running" for step in report.steps):
            return report
        wait = self._run_index.sweeps.shared.wait_of(run_id) if report.state in ("queued", "running") else None
        return with_wait(report, wait) if wait else report

    def runs(self) -> Iterator[RunRecord]:
        """Every run, newest sweep first; what is damaged is passed over."""
        for sweep in self._sweeps():
            for index in range(len(sweep.space)):
                with _damage_passed_over():
                    yield self._run_of(sweep, sweep.run_id(index))

    def runs_of(self, sweep: str) -> Iterator[RunRecord]:
        """The runs of a sweep that have been begun, by index; what is damaged is passed over. Raises NotFoundError."""
        found = self._find_sweep(sweep)
        indexes = sorted(index for index, _ in self._storage().runs(found.record.id))
        for index in indexes:
            with _damage_passed_over():
                yield self._run_of(found, found.run_id(index))

    def overview(self) -> Iterator[RunRecord | SweepReport]:
        """Every sweep, newest first: one of a single run as that run. What is damaged is passed over."""
        for sweep in self._sweeps():
            with _damage_passed_over():
                yield self._report_of(sweep) if len(sweep.space) > 1 else self._run_of(sweep, sweep.run_id(0))

    def _sweeps(self) -> Iterator[Sweep]:
        storage = self._storage()
        for name in storage.sweeps():
            with _damage_passed_over(), suppress(NotFoundError):  # never committed
                yield Sweep.read(storage, name)

    def events(self, run: str) -> Iterator[Event]:
        """Every change from now on until the run has ended, beginning with how it stands."""
        known: dict[str, tuple[str, int]] = {}
        state = ""
        delay = _FIRST_POLL_SECONDS
        while True:
            report = _awaited(lambda: self.run(run))
            changes = []
            if report.state != state and report.state not in ENDED:
                changes.append(Event(report.run, None, report.state))
            for step in report.steps:
                if known.get(step.name) != (step.state, step.attempts):
                    known[step.name] = (step.state, step.attempts)
                    changes.append(Event(report.run, step.name, step.state, step.attempts, step.seconds, step.message))
            if report.state in ENDED:
                changes.append(Event(report.run, None, report.state, message=report.message))
            state = report.state
            yield from changes
            if report.state in ENDED:
                return
            delay = _FIRST_POLL_SECONDS if changes else min(delay * 1.3, _MAX_POLL_SECONDS)
            time.sleep(delay)

    def wait(self, run: str, timeout_seconds: float | None = None, check: bool = False) -> RunRecord:
        """The run once it has ended. Raises TimeoutError, and with `check` RunFailedError unless it succeeded."""
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        delay = _FIRST_POLL_SECONDS
        while True:
            report = _awaited(lambda: self.run(run))
            if report.state in ENDED:
                break
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"run {report.run} is still {report.state} after {timeout_seconds} s")
            time.sleep(delay)
            delay = min(delay * 1.3, _MAX_POLL_SECONDS)
        if check and report.state != "succeeded":
            raise RunFailedError(f"run {report.run} {report.state}: {report.message}")
        return report

    def outputs(self, run: str) -> dict[str, Path]:
        """Step -> the folder of its published files, for the steps that have published any."""
        return {step.name: Path(step.outputs) for step in self.run(run).steps if step.outputs}

    def metrics(self, run: str) -> dict[str, float]:
        """The numbers that the run's steps wrote to `metrics.json`; a later step wins."""
        sweep, run_id = self._find(run)
        paths = sweep.paths(self._storage(), run_id)
        steps = find_steps(sweep, paths, paths.names())
        return {
            name: value
            for step in steps
            if step.published and step.record
            for name, value in step.record.metrics.items()
        }

    def results(self, sweep: str, note: Callable[[str], None] | None = None) -> list[Row]:
        """The runs of a sweep that have ended, by index; `pandas.DataFrame(to_columns(rows))` takes them.

        `note` is told of what had to be passed over. Raises NotFoundError and StorageError.
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
        names = [one.name for one in sweep.pipeline.steps]
        if step not in names:
            raise InputError(f"run {run_id} has no step '{step[:64]}'; its steps are {', '.join(names)}")
        return explain(self._storage(), sweep, run_id, step, self._find(against) if against else None)

    def logs(self, run: str, step: str) -> Path | None:
        """The log of the step's published or latest attempt, None before the first and when it printed nothing.

        Raises NotFoundError.
        """
        for summary in self.run(run).steps:
            if summary.name == step:
                return Path(summary.log) if summary.log else None
        raise NotFoundError(f"run {run} has no step '{step}'")

    def cancel(self, run: str) -> RunRecord:
        """Asks for the end of a run; steps that run are ended within seconds. The run as it stands then."""
        sweep, run_id = self._find(run)
        storage, run_index = self._storage(), self._live()
        paths = sweep.paths(storage, run_id)
        if paths.end() is None:
            try:
                paths.request_cancel()
                if run_index.cancel(run_id) == "idle":
                    steps = find_steps(sweep, paths, paths.names())
                    paths.write_end(end_of_run(sweep, run_id, steps, "cancelled", "cancelled"))
            except OSError as error:
                raise StorageError(describe_failed(Path(paths.where()), error)) from error
        return self.run(run)

    def unfinished(self) -> int:
        """How many accepted runs the broker knows of that have not ended."""
        return self._live().active()

    def has_work(self) -> bool:
        """Whether any run that the broker knows of has yet to end."""
        return self._live().sweeps.has_work()

    def _is_idle(self) -> bool:
        """Whether nothing is left to do. The end of a sweep is written down a moment after its last run."""
        until = time.monotonic() + _SETTLE_SECONDS
        while self.unfinished() and not self.has_work() and time.monotonic() < until:
            time.sleep(_FIRST_POLL_SECONDS)
        return self.unfinished() == 0

    def workers(self) -> list[LiveWorker]:
        """The workers heard of in the last seconds."""
        return self._live().workers.live()

    @property
    def storage_root(self) -> Path:
        return self._root

    def is_served(self) -> bool:
        """Whether a worker lives; False too without a broker to ask, when no service runs."""
        return bool(self._run_index and self.workers())

    def warm_python(self) -> WarmPython:
        """Of all live workers together; nothing when no broker is there to ask."""
        return sum((worker.warm for worker in self.workers()), WarmPython()) if self._run_index else WarmPython()

    def holds(self) -> list[tuple[str, str]]:
        """Worker and reason, for every reason why one takes no steps now; empty without a broker."""
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
        """Has every live worker serve these queues too: for the embedded default, which has only one."""
        from pipeline_queue.index.broadcast import serve_queues

        self._live()
        assert self._settings is not None
        serve_queues(self._settings.broker_url, queues)

    def resolve(self, text: str) -> str:
        """The full id of the run that `text` means: an id, a sweep's id or name (its run 0), a unique part, or `last`.

        Raises NotFoundError.
        """
        if is_sweep_id(text):
            return str(Sweep.read(self._storage(), text).run_id(0))
        if not _names_a_run(text) or _named(text, self._storage().sweeps())[0]:
            return f"{self._only_sweep(text)}.0"
        sweep, _, index = text.rpartition(".")
        return f"{sweep}.{index}" if is_sweep_id(sweep) else f"{self._only_sweep(sweep)}.{index}"

    def _only_sweep(self, part: str) -> str:
        if part == "last":
            newest = next(self._storage().sweeps(), None)
            if newest is None:
                raise NotFoundError(f"there are no runs yet in {self._root}")
            return newest
        named, names = _named(part, self._storage().sweeps())
        if len(named) == 1:
            return named[0]
        if named:
            raise NotFoundError(f"several sweeps are called '{part[:100]}': {', '.join(named[:5])}; give the id")
        matches = [
            name for name in names if part and (name.startswith(part) or name.rpartition("-")[2].startswith(part))
        ]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise NotFoundError(f"'{part[:100]}' may be any of {', '.join(sorted(matches)[:5])}; give more of the name")
        raise NotFoundError(f"there is no run '{part[:100]}' in {self._root}; `pipeline-queue status` lists them")

    def _find(self, text: str) -> tuple[Sweep, RunId]:
        """Raises InputError for a sweep of several runs: none of them is meant more than another."""
        run = RunId.parse(self.resolve(text))
        sweep = Sweep.read(self._storage(), run.sweep)
        total = len(sweep.space)
        if total > 1 and not _names_a_run(text):
            first, last = sweep.run_id(0), sweep.run_id(total - 1)
            raise InputError(f"{run.sweep} is a sweep of {counted(total, 'run')}; name one of them: {first} to {last}")
        return sweep, sweep.run_id(run.index)

    def _find_sweep(self, text: str) -> Sweep:
        return Sweep.read(self._storage(), RunId.parse(self.resolve(text)).sweep)

    def _start(self, sweep: Sweep, is_new: bool) -> None:
        """Makes the sweep known and enqueues its first runs; one that may have been begun is read from the storage."""
        from pipeline_queue.index.live_sweeps import Opening
        from pipeline_queue.submitting.feeder import feed
        from pipeline_queue.submitting.recovery import restore_sweep

        run_index, storage = self._live(), self._writable()
        name = sweep.record.id
        if not is_new and run_index.sweeps.read(name) is None:
            restore_sweep(run_index, storage, sweep)
            return
        settings = sweep.settings
        run_index.sweeps.open(Opening(name, len(sweep.space), settings.max_parallel, sweep.failures_allowed()))
        feed(run_index, storage, sweep, run_index.workers.live())

    def _make_known(self, sweep: Sweep) -> None:
        """Restores the sweep if the index has lost it and nobody has done so yet."""
        name = sweep.record.id
        if self._live().sweeps.read(name) is None and self._storage().sweep_end(name) is None:
            self._start(sweep, is_new=False)

    def _enqueue_held(self, sweep: Sweep) -> None:
        from pipeline_queue.submitting.feeder import enqueue_held

        enqueue_held(self._live(), self._writable(), sweep)

    def _send_environment(self, sweep: str, keeps: Callable[[str], None] | None = None) -> None:
        """Has the embedded service start the sweep's steps with what this process was started with.

        A sweep that was accepted before, under its name, keeps what it has; `keeps` is told when that differs.
        """
        if self._environments is None:
            return
        mine = SubmittedEnvironment.of_this_process()
        is_accepted = keeps is not None and self._writable().has_sweep(sweep)
        known = self._environments.read(sweep) if is_accepted else None
        if known is None or keeps is None:
            self._environments.write(sweep, mine)
        elif differing := mine.differences(known):
            keeps(
                f"{sweep} was submitted with another environment, which its steps keep (different: "
                f"{', '.join(differing[:_MAX_NAMES_SHOWN])}); `pipeline-queue retry {sweep}` takes this one"
            )

    def _check_signing_key(self) -> None:
        """Raises SettingsError when the key is no longer usable, before anything is written."""
        if self._settings and self._settings.signing_key_file:
            from pipeline_queue.broker.signing import read_signing_key

            read_signing_key(self._settings.signing_key_file)

    def _live(self) -> RunIndex:
        if self._run_index is None:
            raise BrokerError("no broker is configured and no service runs here; start one with `pipeline-queue up`")
        return self._run_index

    def _writable(self) -> Storage:
        """The storage, made ready once; the broker's own, if there is one to ask."""
        if self._opened is None:
            self._opened = open_storage(self._root, self._run_index) if self._run_index else Storage.open(self._root)
        return self._opened

    def _storage(self) -> Storage:
        storage = Storage(self._root)
        if not storage.is_made():
            if self._settings is None:
                raise NotFoundError(f"there are no runs yet in {self._root}")
            return self._writable()
        return storage


__all__ = ["Client", "Event", "PipelineQueueError", "RunRecord"]


@contextmanager
def _damage_passed_over() -> Iterator[None]:
    """What is damaged is left out of a list; a storage that is away is none of an empty list. Raises it."""
    try:
        yield
    except StorageAwayError:
        raise
    except StorageError:
        pass


def _awaited(look: Callable[[], _T]) -> _T:
    """A look of whoever waits for an end anyhow."""
    with patient(WAITING):
        return look()


def _names_a_run(text: str) -> bool:
    """Whether a text ends in the index of a run: a name of a sweep may have dots of its own."""
    return re.fullmatch(r".*\.(0|[1-9][0-9]{0,8})", text, re.DOTALL) is not None


def _named(text: str, sweeps: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of all sweeps, those that were given this name when they were submitted; and all sweeps."""
    every = list(sweeps)
    pipelines = {sweep.rpartition("-")[0] for sweep in every}
    return sorted({named_sweep_id(pipeline, text) for pipeline in pipelines} & set(every)), every
