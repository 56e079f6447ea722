"""The worker's Celery application, and what a worker process starts and stops with itself."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps
from celery.apps.worker import Worker
from celery.signals import worker_ready, worker_shutting_down
from celery.worker import state

from pipeline_queue import __version__
from pipeline_queue.broker.app import harmless_commands, make_app
from pipeline_queue.broker.transport import pause_messages, screen_messages, use_client_class
from pipeline_queue.contract.errors import BrokerError, PipelineQueueError
from pipeline_queue.contract.hangup import release_lost_terminal
from pipeline_queue.contract.settings import Settings, settings_from
from pipeline_queue.index.mending import MendingRedis
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.storage_match import open_storage
from pipeline_queue.storage.patience import WAITING, patient
from pipeline_queue.storage.submitted_environment import EnvironmentFolder
from workers.agents.admission import Admission
from workers.agents.announcer import Announcer
from workers.agents.cleaner import Cleaner
from workers.agents.disk_monitor import DiskMonitor
from workers.agents.feeder import Feeder
from workers.agents.lease_keeper import LeaseKeeper, Orders
from workers.agents.reconciler import Reconciler
from workers.broker_wait import wait_for_broker
from workers.container_engines import usable_engine
from workers.context import SweepCache, WorkerContext
from workers.dead_letters import Refusals
from workers.events import EventPacer
from workers.executor import Executor
from workers.host_health import HostHealth
from workers.remote_control import restrict
from workers.tasks import register
from workers.thread_bounds import available_cpus, share_of_slot
from workers.workspace import Workspaces

logger = logging.getLogger(__name__)

_COLLECTION_THRESHOLDS = (20_000, 20, 20)
_FOLDERS_BESIDE_SLOTS = 3
"""So many more than slots wait for their next step, because the runs of several pipelines take turns."""
_SWITCH_SECONDS = 0.0005
"""A thread that has just been answered waits at most so long for its turn; Python's own 5 ms is a whole short step."""
_STOP_LOOK_SECONDS = 0.2
# With the grace before it still within the 30 s that Kubernetes gives.
_TERM_SECONDS = 3.0
_STOPPING = "it was told to stop"


class QuietWorker(Worker):  # type: ignore[misc]
    """Celery's worker without the chatter between workers, which costs seconds at start and brings nothing here."""

    def __init__(self, app: Celery | None = None, **options: Any) -> None:
        super().__init__(app, **{**options, "without_mingle": True, "without_gossip": True})

    def install_platform_tweaks(self, worker: Any) -> None:
        """A terminal that goes away stops the worker as TERM does: Celery would go on, or start anew, without one.

        Not under `nohup`.
        """
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().install_platform_tweaks(worker)
        stop = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else _without_terminal(stop))

    def start(self) -> None:
        """Ends with the exit code that Celery keeps: what calls this for `python -m workers` drops it."""
        super().start()
        if self.exitcode:
            raise SystemExit(self.exitcode)


class Engine(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts supervisor, lease keeper and reconciler before the first task, and stops them after the last."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._reconciler: Reconciler | None = None
        self._feeder: Feeder | None = None
        self._disks: DiskMonitor | None = None
        self._tidier: Cleaner | None = None
        self._health: HostHealth | None = None
        self._grace_seconds = 0.0

    def start(self, parent: Any) -> None:
        try:
            self._start(parent, settings_from(os.environ))
        except PipelineQueueError as error:
            _exit(error)

    def stop(self, parent: Any) -> None:
        """A warm shutdown: Celery takes no more messages, and the steps that run are waited for, up to the grace.

        Those that run still get TERM, so that they can write down how far they came, and are handed back.
        """
        worker: WorkerContext | None = getattr(parent.app, "worker_context", None)
        if worker is not None:
            worker.admission.hold("stop", _STOPPING)
            if not _ended_within(worker, self._grace_seconds):
                worker.executor.end_all(_STOPPING)
                _ended_within(worker, _TERM_SECONDS)
        self.terminate(parent)

    def terminate(self, parent: Any) -> None:
        """A cold shutdown: the steps that run are ended and handed back."""
        worker: WorkerContext | None = getattr(parent.app, "worker_context", None)
        if worker is None:
            return
        if self._reconciler:
            self._reconciler.stop()
        if self._feeder:
            self._feeder.stop()
        if self._disks:
            self._disks.stop()
        if self._tidier:
            self._tidier.stop()
        if self._health:
            self._health.stop()
        worker.executor.close()
        # Steps have been ended now; leases and index stay until every attempt has recorded that.
        parent.pool.stop()
        worker.leases.stop()
        with contextlib.suppress(BrokerError):  # a worker that says nothing any more is forgotten too, only later
            worker.run_index.workers.withdraw(worker.name)
        worker.run_index.close()
        parent.app.worker_context = None

    def _start(self, parent: Any, settings: Settings) -> None:
        self._grace_seconds = settings.stop_grace_seconds
        restrict(settings.remote_control)
        commands = harmless_commands(parent.app.amqp.queues.consume_from)
        if not wait_for_broker(settings.broker_url, commands, settings.waits_for_broker, _is_told_to_stop):
            raise SystemExit(0)
        run_index = RunIndex.of(settings)
        with patient(WAITING):
            storage = open_storage(settings.storage, run_index)
        admission = Admission()
        executor = Executor()
        executor.start()
        name = str(parent.hostname)
        slots = int(parent.concurrency)
        consumed = parent.app.amqp.queues.consume_from
        host = socket.gethostname()

        def facts(busy: int) -> dict[str, Any]:
            about = {"storage_token": disks.token, "holds": admission.reasons(), "idle": workspaces.idle().as_json()}
            load = {"queues": sorted(consumed), "slots": slots, "busy": busy, "steps": leases.running_steps()}
            return {**_facts(executor), **about, **load, "host": host}

        orders = Orders(renew=executor.renew, stop=executor.stop, kill=executor.kill)
        refusals = Refusals(run_index.dead, name)
        screen_messages(refusals.screen)
        use_client_class(MendingRedis)
        leases = LeaseKeeper(name, RunIndex.of(settings), orders, Announcer(name, facts).announce)
        sweeps = SweepCache(storage)
        idle_folders = slots + _FOLDERS_BESIDE_SLOTS if _reuses_folders(settings) else 0
        workspaces = Workspaces(settings.scratch, storage, idle_folders)
        make_room = functools.partial(workspaces.remove_idle, 0.0)
        disks = DiskMonitor(storage, settings.scratch, RunIndex.of(settings), admission, make_room)
        self._disks = disks
        environment, python = dict(os.environ), Path(sys.executable)
        health = HostHealth(name, RunIndex.of(settings), executor, admission, (python, environment), workspaces.ceiling)
        self._health = health
        self._feeder = Feeder(RunIndex.of(settings), storage, sweeps)
        self._reconciler = Reconciler(name, RunIndex.of(settings), storage, sweeps, admission.is_open)
        parent.app.worker_context = WorkerContext(
            name=name,
            storage=storage,
            run_index=run_index,
            executor=executor,
            leases=leases,
            workspaces=workspaces,
            sweeps=sweeps,
            refuse=refusals.refuse,
            feed_soon=self._feeder.poke,
            enqueue_soon=self._feeder.enqueue,
            admission=admission,
            disks=disks,
            health=health,
            log_limit_bytes=settings.log_limit_bytes,
            environment=environment,
            python=python,
            keep_limit_bytes=settings.keep_limit_bytes,
            keep_total_bytes=settings.keep_total_bytes,
            environments=EnvironmentFolder(settings.environments) if settings.environments else None,
            wake_reconciler=self._reconciler.wake,
            threads_per_slot=_threads_per_slot(settings, slots),
        )
        pause_messages(lambda: not admission.is_open())
        _when_told_to_stop(lambda: admission.hold("stop", _STOPPING))
        _when_ready(leases.start)
        disks.start()
        health.start()
        self._tidier = Cleaner(workspaces, storage, settings.keep_days, settings.keep_total_bytes)
        self._tidier.start()
        self._reconciler.start()
        self._feeder.start()
        # What a worker has imported lives as long as it does: not looked through again at every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTION_THRESHOLDS)
        sys.setswitchinterval(_SWITCH_SECONDS)


@functools.cache
def application() -> Celery:
    """The one application of a worker process; ends it with a plain message when a setting is missing."""
    try:
        settings = settings_from(os.environ)
        app = make_app(settings.broker_url, settings.signing_key_file)
    except PipelineQueueError as error:
        _exit(error)
    app.set_current()
    if "flower" in sys.argv[1:]:  # Celery's command line loads Flower's command for every other one, too
        from pipeline_queue.dashboard.app import use_our_flower

        use_our_flower()
    app.Worker = app.subclass_with_self(QuietWorker)
    app.steps["worker"].add(Engine)
    app.steps["consumer"].add(EventPacer)
    # Two lines for each task, beside our own line that says more.
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    register(app)
    return app


def _without_terminal(handler: Any) -> Callable[[int, Any], None]:
    """The handler, after what can no longer be written to was replaced: it says something before it stops."""

    def handle(number: int, frame: Any) -> None:
        release_lost_terminal()
        if callable(handler):
            handler(number, frame)

    return handle


def _is_told_to_stop() -> bool:
    # Celery notes the exit code there, which is 0 for a warm shutdown.
    return any(told is not None and told is not False for told in (state.should_stop, state.should_terminate))


def _ended_within(worker: WorkerContext, seconds: float) -> bool:
    """Waits for the steps that run; False when some still do."""
    until = time.monotonic() + seconds
    while not worker.leases.wait_until_none(_STOP_LOOK_SECONDS):
        # A second signal (QUIT, or INT twice) asks for a cold shutdown, which nobody else looks at by now.
        if time.monotonic() > until or state.should_terminate not in (None, False):
            return False
    return True


def _when_ready(start: Callable[[], None]) -> None:
    """Calls `start` once the worker takes messages and orders: one that said it lives before would miss the first."""
    started = threading.Event()

    def ready(**_: Any) -> None:
        if not started.is_set():  # it comes again after each new connection to the broker
            started.set()
            start()

    worker_ready.connect(ready, weak=False)


def _when_told_to_stop(close: Callable[[], None]) -> None:
    """Calls `close` in the handler of the signal: the loop that stops the consumer may be late."""

    def told(**_: Any) -> None:
        close()

    worker_shutting_down.connect(told, weak=False)


def _facts(executor: Executor) -> dict[str, Any]:
    notes = ["PYTHONDONTWRITEBYTECODE is set: imports of steps may be slow"] if sys.dont_write_bytecode else []
    notes += [f"warm Python: steps were {note}" for note in executor.cold_notes()]
    warm = dict(executor.warm_facts())
    return {"version": __version__, "clock_seconds": time.time(), "notes": notes, "warm": warm}


def _reuses_folders(settings: Settings) -> bool:
    if settings.reuses_folders is not None:
        return settings.reuses_folders
    engine = usable_engine(os.environ)
    if engine:
        reason = "a container may outlive its step and write to the next one's folder"
        logger.info("Every step gets a copy of its folder, because %s can be used: %s", engine, reason)
    return engine is None


def _threads_per_slot(settings: Settings, slots: int) -> int:
    chosen = settings.threads_per_slot
    return share_of_slot(available_cpus(), slots) if chosen is None else chosen


def _exit(error: PipelineQueueError) -> Any:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None
