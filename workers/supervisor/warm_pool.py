"""The warm processes of one supervisor: which step is forked from which, how many are kept, what is started cold."""

from __future__ import annotations

import os
import select
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from workers.supervisor.process_tree import read_status, reap
from workers.supervisor.signal_names import signal_name
from workers.supervisor.step_process import NotStartedError
from workers.supervisor.warm_process import Birth, WarmKey, WarmProcess
from workers.supervisor.warm_step import WarmStep

MAX_PROCESSES = 4
MAX_FORKS = 5000
IDLE_SECONDS = 900.0
_MAX_UNFIT = 64
_MAX_TRIES = 3
_ANSWER_SECONDS = 10.0
_UNFIT_AFTER_DEATH_SECONDS = 60.0
_MAX_MESSAGE = 2000


class WarmPool:
    """`on_started` is told of each step that runs now, `on_failed` of each that could not be started even cold.

    `pids` are the processes that belong to no step. Everything else of ours that is in our own session is about to
    become a step, or was left by an import and ends with the warm process of its group.
    """

    def __init__(
        self,
        poller: select.epoll,
        on_started: Callable[[WarmStep], None],
        on_failed: Callable[[WarmStep, NotStartedError], None],
    ) -> None:
        self._poller = poller
        self._on_started = on_started
        self._on_failed = on_failed
        self._processes: OrderedDict[WarmKey, WarmProcess] = OrderedDict()
        self._ending: list[WarmProcess] = []
        self._unfit: OrderedDict[WarmKey, tuple[str, float]] = OrderedDict()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._forked = 0
        self._cold = 0
        self.pids: set[int] = set()

    def start(self, step: WarmStep) -> None:
        """Have it forked now or once the imports are done, or start it cold."""
        self._assign(step)

    def facts(self) -> dict[str, int]:
        ready = [process for process in self._processes.values() if process.state == "ready"]
        return {
            "processes": len(self._processes),
            "forked": self._forked,
            "cold": self._cold,
            "shared_bytes": sum(process.resident_bytes for process in ready),
        }

    def handle(self, descriptor: int) -> None:
        handler = self._handlers.get(descriptor)
        if handler is not None:
            handler()

    def settle(self) -> None:
        """After a death among our children: bury the warm processes that are dead."""
        for process in self._all():
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                self._discard(process)

    def deadline(self) -> float | None:
        """When a warm process will have been asked, or been idle, for too long; None when there is none."""
        return min((moment for process in self._all() for moment in _deadlines(process)), default=None)

    def keep_deadlines(self) -> None:
        now = time.monotonic()
        for process in self._all():
            if process.state == "gone" or min(_deadlines(process), default=now + 1) > now:
                continue
            if process.is_idle:
                self._retire(process)
            else:
                process.kill()  # stopped, or hung: what was asked of it is asked of the next

    def _all(self) -> list[WarmProcess]:
        return [*self._processes.values(), *self._ending]

    def _assign(self, step: WarmStep) -> None:
        key = WarmKey.of(step.order)
        step.tries += 1
        why = self._why_cold(key, step)
        process = None if why else self._processes.get(key) or self._new_process(key)
        if process is None:
            self._start_cold(step, why or "no other warm process can be started now")
            return
        self._processes.move_to_end(key)
        process.waiting.append(step)
        if process.state == "ready":
            self._dispatch(process)

    def _why_cold(self, key: WarmKey, step: WarmStep) -> str:
        if step.tries > _MAX_TRIES:
            return "the warm process died again and again"
        if not key.interpreter.startswith("/"):
            return "the interpreter has no absolute path"
        if any(not path.startswith("/") for path in (dict(key.environment).get("PYTHONPATH") or "/").split(":")):
            return "PYTHONPATH holds a path that is not absolute"
        reason, until = self._unfit.get(key, ("", 0.0))
        return reason if until > time.monotonic() else ""

    def _new_process(self, key: WarmKey) -> WarmProcess | None:
        while len(self._processes) >= MAX_PROCESSES:
            idle = next((process for process in self._processes.values() if process.is_idle), None)
            if idle is None:
                return None
            self._retire(idle)
        try:
            process = WarmProcess(key)
        except (OSError, NotStartedError):
            return None
        self._processes[key] = process
        self.pids.add(process.pid)
        self._watch(process.channel.fileno(), lambda: self._hear(process))
        self._watch(process.output, lambda: self._read_output(process))
        return process

    def _hear(self, process: WarmProcess) -> None:
        message = process.receive()
        if message is None:
            return
        if message.get("type") == "ready":
            process.read_output()
            process.state, process.has_imported = "ready", True
            process.resident_bytes = _number(message.get("resident_bytes"))
            self._dispatch(process)
            if message.get("failed"):
                self._retire(process)  # by the next time it may have been installed
            return
        if message.get("type") == "unfit":
            self._refuse(process.key, str(message.get("reason"))[:_MAX_MESSAGE], float("inf"))
        # It says no more; that it has died is seen when it is buried.
        self._forget(process.channel.fileno())
        process.kill()

    def _read_output(self, process: WarmProcess) -> None:
        if not process.read_output():
            self._forget(process.output)

    def _dispatch(self, process: WarmProcess) -> None:
        while process.waiting and process.state == "ready":
            step = process.waiting.popleft()
            if not step.is_waiting:
                continue
            try:
                birth = process.ask(step)
            except BlockingIOError:
                process.waiting.appendleft(step)  # it goes on when one of those before it has been answered
                return
            except OSError:
                process.waiting.appendleft(step)
                process.kill()
                return
            gate = birth.gate.fileno()
            self._watch(gate, partial(self._answered, process, gate, birth))
        if process.forks >= MAX_FORKS and process.state == "ready" and self._processes.get(process.key) is process:
            self._retire(process)

    def _answered(self, process: WarmProcess, gate: int, birth: Birth) -> None:
        try:
            answer = birth.gate.recv(_MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        self._forget(gate)
        process.births.pop(gate, None)
        self._conclude(process, birth, answer)
        if process.state == "ready":
            self._dispatch(process)
        if process in self._ending and process.is_idle:
            process.kill()

    def _conclude(self, process: WarmProcess, birth: Birth, answer: bytes) -> None:
        step = birth.step
        kind, _, detail = answer.partition(b" ")
        if not step.is_waiting or kind != b"ready" or not _is_child(detail) or not _sent(birth, b"go"):
            birth.close()
            if step.is_waiting and kind == b"cold":
                self._start_cold(step, detail.decode(errors="replace"))
            elif step.is_waiting:
                self._assign(step)
            return
        birth.gate.close()
        self._forked += 1
        step.log.append(process.import_output)
        step.is_forked(int(detail), birth.output)
        self._on_started(step)

    def _start_cold(self, step: WarmStep, why: str) -> None:
        self._cold += 1
        try:
            step.start_cold(why)
        except NotStartedError as error:
            self._on_failed(step, error)
        else:
            self._on_started(step)

    def _retire(self, process: WarmProcess) -> None:
        """It forks for nobody any more; what it was asked for is still waited for."""
        if self._processes.get(process.key) is process:
            del self._processes[process.key]
            self._ending.append(process)
        if process.is_idle:
            process.kill()

    def _refuse(self, key: WarmKey, reason: str, until: float) -> None:
        self._unfit[key] = (reason, until)
        while len(self._unfit) > _MAX_UNFIT:
            self._unfit.popitem(last=False)

    def _discard(self, process: WarmProcess) -> None:
        """It is dead: forget it, and have what waits for it started otherwise."""
        if not process.has_imported and process.key not in self._unfit and process not in self._ending:
            status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            reason = f"a process died while it imported them{_how(status)}"
            self._refuse(process.key, reason, time.monotonic() + _UNFIT_AFTER_DEATH_SECONDS)
        for gate, birth in list(process.births.items()):
            self._answered(process, gate, birth)
        process.kill()
        reap(process.pid)
        self.pids.discard(process.pid)
        if self._processes.get(process.key) is process:
            del self._processes[process.key]
        if process in self._ending:
            self._ending.remove(process)
        self._forget(process.channel.fileno())
        self._forget(process.output)
        process.close()
        for step in process.waiting:
            if step.is_waiting:
                self._assign(step)

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._poller.register(descriptor, select.EPOLLIN)

    def _forget(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)


def _deadlines(process: WarmProcess) -> list[float]:
    if process.is_idle:
        return [process.used_at + IDLE_SECONDS] if process.state != "gone" else []
    return [birth.asked_at + _ANSWER_SECONDS for birth in process.births.values()]


def _is_child(pid: bytes) -> bool:
    status = read_status(int(pid)) if pid.isdigit() else None
    return status is not None and status.parent == os.getpid()


def _sent(birth: Birth, word: bytes) -> bool:
    try:
        birth.gate.send(word)
    except OSError:
        return False
    return True


def _how(status: Any) -> str:
    if status is None or status.si_code == os.CLD_EXITED:
        return ""
    return f" ({signal_name(status.si_status)})"


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
