"""An execution that is forked from a warm process: until it is, it has no process but may be ended all the same."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from workers.supervisor.memory import kill_first
from workers.supervisor.protocol import Cause, ExecutionResult, StartOrder
from workers.supervisor.step_process import check_sizes, encode_argv, encode_env
from workers.supervisor.supervised_step import SupervisedStep, start_cold

_UNBORN = -1


class WarmStep(SupervisedStep):
    """Its time runs from the order: like a cold start's, it includes the imports it has to wait for."""

    def __init__(self, order: StartOrder, facts: Callable[[], Mapping[str, int]]) -> None:
        """Raises NotStartedError for what could not be started cold either."""
        super().__init__(order, _checked)
        self.order = order
        self.tries = 0
        self._facts = facts
        self._notes: list[str] = []

    @property
    def is_waiting(self) -> bool:
        return self.pid == _UNBORN and not self.has_exited

    def is_forked(self, pid: int, output: int) -> None:
        self.pid, self.output = pid, output
        kill_first(pid)

    def start_cold(self, why: str) -> None:
        """Raises NotStartedError."""
        self._notes.append(f"started cold: {why}")
        self.pid, self.output = start_cold(self.order)
        kill_first(self.pid)

    def notice_exit(self) -> bool:
        return self.has_exited if self.pid == _UNBORN else super().notice_exit()

    def terminate(self, orphans: Iterable[int], grace_seconds: float) -> None:
        if self.pid == _UNBORN:
            self._give_up()
        else:
            super().terminate(orphans, grace_seconds)

    def kill(self, orphans: Iterable[int]) -> bool:
        if self.pid == _UNBORN:
            self._give_up()
            return False
        return super().kill(orphans)

    def collect(self) -> ExecutionResult:
        return replace(self._collect(), notes=tuple(self._notes), warm=self._facts())

    def _collect(self) -> ExecutionResult:
        if self.pid != _UNBORN:
            return super().collect()
        self.log.close()
        return ExecutionResult(
            id=self.id,
            cause=self.cause or Cause.STOPPED,
            reason=self.reason,
            seconds=(self._exited_at or time.monotonic()) - self._started_at,
            log_bytes=self.log.written_bytes,
            log_dropped_bytes=self.log.dropped_bytes,
        )

    def _give_up(self) -> None:
        """The loop looks for what has ended when a child dies; here none does."""
        if not self.has_exited:
            self._exited_at = time.monotonic()
            signal.raise_signal(signal.SIGCHLD)


def _checked(order: StartOrder) -> tuple[int, int]:
    check_sizes(encode_argv(order.argv), encode_env(order.env))
    return _UNBORN, -1
