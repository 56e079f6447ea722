"""Tools of the supervisor's tests: steps to run, and a witness that does not ask the product."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from tests.limits import signal_process
from workers.executor import Executor
from workers.supervisor.process_tree import children_of
from workers.supervisor.protocol import ExecutionResult, StartOrder

PATIENCE_SECONDS = 60.0
_RUN_SECONDS = 240.0
"""Of a step that is to end by itself: less than what ends a test without a word on what it waited for."""
PYTHON = sys.executable
WARM, WATCHDOG = "pipeline_queue: warm Python", "pq-guard: ends steps that nobody else can"

# argv: token, file to make when it runs
SLEEPER = "import pathlib, sys, time; pathlib.Path(sys.argv[2]).touch(); time.sleep(1000)"


def eventually(condition: Callable[..., bool], seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until it holds and return how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"did not come true within {seconds} s")
        time.sleep(0.005)
    return time.monotonic() - began


def alive(token: str) -> list[int]:
    """The processes that carry this token in their environment or their arguments; zombies carry nothing."""
    needle = token.encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        for name in ("environ", "cmdline"):
            try:
                if needle in (entry / name).read_bytes():
                    found.append(int(entry.name))
                    break
            except OSError:
                continue
    return found


def children_named(parent: int, beginning: str) -> list[int]:
    """Those children whose command, as `ps` shows it, begins so."""
    return [pid for pid in children_of(parent) if command_of(pid).startswith(beginning.encode())]


def watchdog_of(supervisor: int) -> int:
    """Its watchdog, once that has its name."""
    eventually(lambda: len(children_named(supervisor, WATCHDOG)) == 1)
    return children_named(supervisor, WATCHDOG)[0]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
    except OSError:
        return b""


def zombies(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] == "Z" and int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


class Bench:
    """Runs steps that all carry one token, so that whatever is left of them can be found and ended."""

    def __init__(self, folder: Path, executor: Executor) -> None:
        self.folder = folder
        self.executor = executor
        self.token = f"token-{uuid.uuid4().hex}"
        self.log = folder / "step.log"
        self.ready = folder / "ready"
        # Tests before this one may have left some to this process, which an executor makes a subreaper.
        self._old_zombies = frozenset(zombies(os.getpid()))

    def request(self, *argv: str, **changes: object) -> StartOrder:
        values: dict[str, object] = {
            "id": uuid.uuid4().hex,
            "argv": argv,
            "cwd": str(self.folder),
            "env": {"PATH": os.environ["PATH"], "WITNESS": self.token},
            "log": str(self.log),
            "log_limit_bytes": 1 << 20,
            "grace_seconds": 0.5,
            **changes,
        }
        return StartOrder(**values)  # type: ignore[arg-type]

    def new_zombies(self) -> list[int]:
        return [pid for pid in zombies(os.getpid()) if pid not in self._old_zombies]

    def run(self, *argv: str, **changes: object) -> ExecutionResult:
        return self.begin(self.request(*argv, **changes)).result(_RUN_SECONDS)

    def sh(self, script: str, **changes: object) -> ExecutionResult:
        return self.run("sh", "-c", script, **changes)

    def begin(self, request: StartOrder) -> Future[ExecutionResult]:
        """Run in a thread; the future is the result or the error."""
        future: Future[ExecutionResult] = Future()

        def work() -> None:
            try:
                future.set_result(self.executor.run(request))
            except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    def begin_ready(self, *argv: str, **changes: object) -> tuple[StartOrder, Future[ExecutionResult]]:
        """Run in a thread and return once the step has made the file `ready`."""
        request = self.request(*argv, **changes)
        future = self.begin(request)
        eventually(lambda: self.ready.exists() or future.done())
        assert self.ready.exists(), future.result(0)
        return request, future

    def sleeper(self) -> tuple[str, ...]:
        return (PYTHON, "-S", "-c", SLEEPER, self.token, str(self.ready))

    def daemon(self, *, scrubbed: bool, quiet: bool = True) -> tuple[str, ...]:
        """A step that leaves a double-forked daemon behind and exits with 0 once that runs."""
        script = f"""
import os, pathlib, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    if {quiet}:
        for number in (1, 2):
            os.dup2(os.open("/dev/null", os.O_WRONLY), number)
    os.execve(sys.argv[1], sys.argv[1:], {{}} if {scrubbed} else os.environ)
os.wait()
while not pathlib.Path({str(self.ready)!r}).exists():
    time.sleep(0.005)
"""
        return (PYTHON, "-S", "-c", script, *self.sleeper())

    def supervisor(self) -> int:
        """Its pid. Raises AssertionError when there is none."""
        pid = self.executor.supervisor_pid()
        assert pid is not None, "the executor has no supervisor"
        return pid

    def alive(self) -> list[int]:
        return alive(self.token)

    def clean(self) -> None:
        for pid in self.alive():
            signal_process(pid, signal.SIGKILL)


def bench_in(folder: Path) -> Iterator[Bench]:
    executor = Executor()
    executor.start()
    bench = Bench(folder, executor)
    try:
        yield bench
    finally:
        executor.close()
        bench.clean()
