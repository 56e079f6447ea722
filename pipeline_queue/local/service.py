"""The process that runs server, worker and Flower for one data folder, until told to stop or nobody needs it.

Single-threaded, because its children are told to die with it, which follows the thread that started them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from pipeline_queue.contract.errors import BrokerError, PipelineQueueError
from pipeline_queue.contract.hangup import release_lost_terminal
from pipeline_queue.contract.settings import REMOTE_CONTROL, STOP_GRACE, Settings
from pipeline_queue.contract.wording import counted
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.storage_match import open_storage
from pipeline_queue.local.ended import remove_ended_environments
from pipeline_queue.local.flower import EmbeddedFlower
from pipeline_queue.local.folder import DATA, DataFolder, FolderWatch, ServiceNote
from pipeline_queue.local.server import Server, die_with_parent, remove_leftover, start_server
from pipeline_queue.model.pipeline import DEFAULT_QUEUE
from pipeline_queue.storage.storage import Storage

_START_SECONDS = 60.0
_INTERVAL_SECONDS = 0.05
_WORKER_STOP_SECONDS = 10.0
_WORKER_GRACE_SECONDS = 3.0
_RESTART_SECONDS = 2.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the service is to run.

    `flower_port` 0 picks a free one, None runs no Flower; `any_port`: if that port is taken, a free one instead.
    """

    slots: int
    while_needed: bool = False
    flower_port: int | None = None
    any_port: bool = False


@dataclass
class Service:
    """The running parts; `say` tells a person what happens."""

    folder: DataFolder
    wishes: Wishes
    say: Callable[[str], None]
    stopping: bool = field(default=False, init=False)
    _flower: EmbeddedFlower | None = field(default=None, init=False)
    _watch: FolderWatch = field(init=False)
    _next_look: float = field(default=0.0, init=False)

    def serve(self) -> bool:
        """Runs until stopped or not needed; False when another service already serves the folder.

        Raises InputError when Flower's port is taken.
        """
        self.folder.make()
        with self.folder.serving() as alone, contextlib.ExitStack() as stack:
            if not alone:
                return False
            self._remove_leftovers()
            self._catch_signals()
            if self.wishes.flower_port is not None:
                self._flower = stack.enter_context(
                    EmbeddedFlower.listening(self.wishes.flower_port, self.wishes.any_port, self.say)
                )
            server = start_server(self.folder.log("server"))
            try:
                self._serve(server)
            finally:
                self._remove_note()
                server.stop()
        return True

    def _remove_leftovers(self) -> None:
        """The note of a service that was killed, and the socket it tells of."""
        note = self.folder.read_note()
        if note:
            remove_leftover(note.broker_url)
        self.folder.remove_note()

    def _serve(self, server: Server) -> None:
        settings = self.folder.settings(server.broker_url)
        environment = {**os.environ, **settings.environment(), DATA: str(self.folder.root)}
        if os.environ.get(REMOTE_CONTROL):
            environment[REMOTE_CONTROL] = os.environ[REMOTE_CONTROL]
        environment[STOP_GRACE] = f"{_WORKER_GRACE_SECONDS:g}"
        run_index = RunIndex.of(settings)
        storage = open_storage(settings.storage, run_index)
        self._watch = FolderWatch(self.folder)
        begun_bytes = self.folder.log_bytes("worker")
        worker = self._start_worker(environment)
        if self._flower:
            self._flower.start(lambda command, own, fds: self._start(command, own, "flower", fds), environment)
        try:
            from pipeline_queue.submitting.recovery import recover_unfinished  # heavy: while the worker starts

            self._wait_for_worker(run_index, worker, begun_bytes)
            flower_url = self._flower.url if self._flower else None
            self.folder.write_note(ServiceNote(os.getpid(), server.broker_url, flower_url, self.wishes.while_needed))
            filling = run_index.server.begin_filling()
            recovered = recover_unfinished(storage, run_index)
            if not recovered.failed:
                run_index.server.note_complete(filling)
            if recovered.runs:
                self._worker_serves(settings, recovered.queues)
                self.say(f"continuing {counted(recovered.runs, 'unfinished run')}")
            self.say(f"worker ready: {counted(self.wishes.slots, 'slot')}, storage {settings.storage}")
            while not self._is_over(server, run_index):
                self._look_after(storage)
                if worker.poll() is not None:
                    self.say(f"the worker exited with {worker.returncode}; starting another (see its log)")
                    time.sleep(_RESTART_SECONDS)
                    # What it had taken from the queue is gone with it, and only it knew which queues to serve.
                    queues = recover_unfinished(storage, run_index).queues
                    worker = self._start_worker(environment, queues)
                time.sleep(_INTERVAL_SECONDS)
        finally:
            self._remove_note()
            if self._flower:
                _end_process(self._flower.process, 5.0)
            _end_process(worker, _WORKER_STOP_SECONDS)
            with contextlib.suppress(PipelineQueueError):
                remove_ended_environments(self.folder.environments, storage)
            run_index.close()
            self._watch.close()

    def _look_after(self, storage: Storage) -> None:
        """What is to be seen to from time to time, beside the worker."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if self._watch.is_gone():
            self.say(f"{self.folder.root} was removed or emptied; this service stops")
            self.stopping = True
            return
        if self._flower:
            self._flower.look()
        remove_ended_environments(self.folder.environments, storage)

    def _remove_note(self) -> None:
        """Not that of another service, which serves a new folder of the same name."""
        note = self.folder.read_note()
        if note and note.pid == os.getpid():
            self.folder.remove_note()

    def _is_over(self, server: Server, run_index: RunIndex) -> bool:
        if self.stopping:
            return True
        if server.process.poll() is not None:
            raise BrokerError(f"the embedded server stopped; see {self.folder.log('server')}")
        if not self.wishes.while_needed or run_index.active():
            return False
        with self.folder.without_clients() as alone:
            # Looked at again with new clients kept out; the note goes first, so that they start a service anew.
            if not alone or run_index.active():
                return False
            self.folder.remove_note()
            self.stopping = True
        return True

    def _start_worker(self, environment: dict[str, str], queues: Collection[str] = ()) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "workers", "worker", "--concurrency", str(self.wishes.slots)]
        command += ["--queues", ",".join(sorted({DEFAULT_QUEUE, *queues}))]
        name = f"local-{os.getpid()}@%h"
        return self._start([*command, "--hostname", name, "--loglevel", "INFO"], environment, "worker")

    def _worker_serves(self, settings: Settings, queues: set[str]) -> None:
        """The one worker here takes every step: whoever submitted these runs had it serve their queues too."""
        from pipeline_queue.index.broadcast import serve_queues

        serve_queues(settings.broker_url, queues - {DEFAULT_QUEUE})

    def _start(
        self, command: list[str], environment: dict[str, str], name: str, descriptors: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        with self.folder.open_log(name) as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder.root,
                env=environment,
                start_new_session=True,
                preexec_fn=die_with_parent,
                pass_fds=descriptors,
            )

    def _wait_for_worker(self, run_index: RunIndex, worker: subprocess.Popen[bytes], begun_bytes: int) -> None:
        """`begun_bytes`: how much was in the worker's log before it. Raises BrokerError."""
        until = time.monotonic() + _START_SECONDS
        while not run_index.workers.live():
            if worker.poll() is not None or time.monotonic() > until:
                raise BrokerError(f"the worker did not start{self.folder.read_error('worker', begun_bytes)}")
            if self.stopping:
                return
            time.sleep(_INTERVAL_SECONDS)

    def _catch_signals(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                release_lost_terminal()
            self.stopping = True

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under `nohup` a terminal that goes away is to change nothing.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, stop)


def _end_process(process: subprocess.Popen[bytes] | None, seconds: float) -> None:
    """Sends TERM, and KILL when the process still lives after so long; None is nothing to end."""
    if process is None:
        return
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
        return
    process.kill()
    process.wait()


def main() -> int:
    """What `attach` starts in the background: `python -m pipeline_queue.local.service DATA STORAGE SLOTS`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("storage", type=Path)
    parser.add_argument("slots", type=int)
    options = parser.parse_args()
    service = Service(
        DataFolder(options.data, options.storage),
        Wishes(slots=options.slots, while_needed=True),
        say=lambda text: print(text, flush=True),
    )
    try:
        service.serve()
    except PipelineQueueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
