"""A machine of a lab: one worker under a first process of its own, with or without namespaces around them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import machine_init
from tests.faults.processes import Process, end_all, is_warm, on_machine, processes, send, signal_all
from tests.limits import wait_for_end

_START_SECONDS = 90.0
_READY = b" ready."


@dataclass
class Machine:
    """`prefix` is the command that enters its namespaces, empty on the plain machine; `environment` is the whole one."""

    lab: str
    name: str
    folder: Path
    command: Sequence[str]
    environment: Mapping[str, str]
    prefix: Sequence[str] = ()
    warm_kills: int = field(default=0, init=False)
    """How many warm processes were there to be killed."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def life(self) -> Path:
        return self.folder / f"{self.name}.life"

    def start(self) -> None:
        """As switching it on; `wait_until_ready` says when its worker works."""
        init = [sys.executable, "-I", "-S", machine_init.__file__, str(self.life), str(self.log), "--", *self.command]
        self._process = subprocess.Popen(
            [*self.prefix, *init],
            env=dict(self.environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while _READY not in (self.log.read_bytes() if self.log.exists() else b""):
            if time.monotonic() > until:
                raise RuntimeError(f"the worker of {self.name} is not ready:\n{self.log_end()}")
            time.sleep(0.05)

    def power_off(self) -> None:
        """As pulling the plug: with namespaces the kernel ends everything at once."""
        first = self._first()
        if first is not None:
            send(first.pid, signal.SIGKILL)
        end_all(self.lab, on_machine(self.name))
        if self._process is not None:
            wait_for_end(self._process)
            self._process = None

    def kill_worker(self) -> None:
        worker = self.worker()
        if worker is not None:
            send(worker.pid, signal.SIGKILL)

    def kill_supervisor(self) -> None:
        for process in self._supervisors():
            send(process.pid, signal.SIGKILL)

    def kill_worker_and_supervisor(self) -> None:
        """In the same moment: stopped first, neither can do anything about the death of the other."""
        worker = self.worker()
        both = [*self._supervisors(), *([] if worker is None else [worker])]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in both:
                send(process.pid, number)

    def kill_warm_process(self) -> None:
        """The oldest, so that each comes to its turn."""
        warm = self._processes(is_warm)
        if warm:
            send(min(process.pid for process in warm), signal.SIGKILL)
            self.warm_kills += 1

    def pause(self) -> None:
        """As a machine that is suspended: nothing of it moves."""
        signal_all(self.lab, on_machine(self.name), signal.SIGSTOP)

    def unpause(self) -> None:
        signal_all(self.lab, on_machine(self.name), signal.SIGCONT)

    def worker(self) -> Process | None:
        first = self._first()
        children = [] if first is None else self._processes(lambda process: process.parent == first.pid)
        return next(iter(children), None)

    def memory_bytes(self) -> int:
        """Resident memory of the worker, 0 without one."""
        worker = self.worker()
        if worker is None:
            return 0
        pages = Path(f"/proc/{worker.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def exits(self) -> int:
        """How often its worker ended by itself; one that this lab kills ends by signal 9."""
        lines = self.life.read_text().splitlines() if self.life.exists() else []
        return sum(line.startswith("ended") and not line.startswith("ended -9 ") for line in lines)

    def log_end(self, characters: int = 2000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else "it left no log"

    def _supervisors(self) -> list[Process]:
        worker = self.worker()
        children = [] if worker is None else self._processes(lambda process: process.parent == worker.pid)
        return [process for process in children if "workers.supervisor" in process.argv]

    def _first(self) -> Process | None:
        def is_first(process: Process) -> bool:
            return machine_init.__file__ in process.argv and "python" in Path(process.argv[0]).name

        return next(iter(self._processes(is_first)), None)

    def _processes(self, keep: Callable[[Process], bool]) -> list[Process]:
        here = on_machine(self.name)
        return processes(self.lab, lambda process: here(process) and keep(process))
