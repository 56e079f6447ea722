"""One execution in the supervisor: its process, its output, its deadlines, and how its process tree is killed."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterable

from workers.supervisor.memory import MemoryWatch, kill_first
from workers.supervisor.process_tree import descendants, read_status, send_signal
from workers.supervisor.protocol import Cause, ExecutionResult, StartOrder
from workers.supervisor.step_log import StepLog
from workers.supervisor.step_process import NotStartedError, start_process

_CHUNK_BYTES = 65536
_KILL_AGAIN_SECONDS = 0.005
_MAX_KILL_AGAIN_SECONDS = 0.5


class SupervisedStep:
    """A started step.

    Its main process is kept as a zombie until the whole tree is dead: so its pid, which is also the name of
    its session and of its process group, cannot come to mean anything else while it is signalled.
    """

    def __init__(self, order: StartOrder, start: Callable[[StartOrder], tuple[int, int]] | None = None) -> None:
        """Start it, by `start_cold` unless told otherwise; raises NotStartedError."""
        self.id = order.id
        self.grace_seconds = order.grace_seconds
        self.lease_until = order.lease_until
        self.log = _open_log(order)
        self._started_at = time.monotonic()
        try:
            self.pid, self.output = (start or start_cold)(order)
        except NotStartedError:
            self.log.close()
            raise
        self.timeout_at = None if order.timeout_seconds is None else self._started_at + order.timeout_seconds
        self.memory = None if order.memory_bytes is None else MemoryWatch(order.memory_bytes)
        kill_first(self.pid)
        self._exited_at: float | None = None
        self._kill_again_seconds = _KILL_AGAIN_SECONDS
        self._killed: set[tuple[int, int]] = set()
        self.kill_at: float | None = None
        self.cause: Cause | None = None
        self.reason: str | None = None
        self.members: dict[int, int] = {}

    @property
    def has_exited(self) -> bool:
        return self._exited_at is not None

    @property
    def is_ending(self) -> bool:
        return self.kill_at is not None

    def output_name(self) -> str | None:
        """The pipe of this step as /proc shows it in the processes that hold it."""
        return None if self.output < 0 else f"pipe:[{os.fstat(self.output).st_ino}]"

    def notice_exit(self) -> bool:
        """True from the moment the main process is dead; by then its children have been handed on."""
        if self._exited_at is None:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            if os.waitid(os.P_PID, self.pid, flags) is not None:
                self._exited_at = time.monotonic()
        return self._exited_at is not None

    def end_because(self, cause: Cause, reason: str | None = None) -> None:
        """The first cause stays, and an exit of its own before it; but nothing outranks a lost lease."""
        if cause is Cause.LEASE_LOST or (self.cause is None and not self.has_exited):
            self.cause, self.reason = cause, reason

    def is_over_memory(self, orphans: Iterable[int]) -> bool:
        """Whether the whole tree holds more than it may; called when its watch says."""
        return self.memory is not None and self.memory.is_over(self._tree(orphans))

    def terminate(self, orphans: Iterable[int], grace_seconds: float) -> None:
        """Ask the whole tree to end; after the grace it is killed."""
        self.kill_at = time.monotonic() + grace_seconds
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
            # A stopped process acts on nothing but KILL until it is continued.
            os.killpg(self.pid, signal.SIGCONT)
        for pid, start_ticks in self._tree(orphans).items():
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) != self.pid:
                    send_signal(pid, start_ticks, signal.SIGTERM)
                    send_signal(pid, start_ticks, signal.SIGCONT)

    def kill(self, orphans: Iterable[int]) -> bool:
        """One pass of KILL over the tree as it is now; True when it met processes it had not met before."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # One atomic stroke for a group that forks faster than /proc can be read.
            os.killpg(self.pid, signal.SIGKILL)
        met = set(self._tree(orphans).items())
        for pid, start_ticks in met:
            send_signal(pid, start_ticks, signal.SIGKILL)
        news = not met <= self._killed
        self._killed |= met
        self.kill_at = time.monotonic() + self._kill_again_seconds
        self._kill_again_seconds = min(2 * self._kill_again_seconds, _MAX_KILL_AGAIN_SECONDS)
        return news

    def copy_output(self) -> bool:
        """Move one chunk of output to the log; False once nobody can write any more."""
        try:
            data = os.read(self.output, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        self.log.append(data)
        return bool(data)

    def close_output(self) -> None:
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def collect(self) -> ExecutionResult:
        """Release everything, once the tree is dead, and say how it ended."""
        _, status, usage = os.wait4(self.pid, 0)
        self._drain()
        log_left = self.log.close()
        killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        by_itself = Cause.EXITED if killed_by is None else Cause.SIGNALLED
        return ExecutionResult(
            id=self.id,
            cause=self.cause or by_itself,
            reason=self.reason,
            exit_code=None if killed_by is not None else os.WEXITSTATUS(status),
            signal=killed_by,
            seconds=(self._exited_at or time.monotonic()) - self._started_at,
            max_rss_bytes=usage.ru_maxrss * 1024,
            memory_bytes=None if self.memory is None else self.memory.most_bytes,
            log_bytes=self.log.written_bytes,
            log_dropped_bytes=self.log.dropped_bytes,
            log_left=base64.b64encode(log_left).decode(),
        )

    def _tree(self, orphans: Iterable[int]) -> dict[int, int]:
        """Every process of the tree with its start time; remembered, so that a later orphan is recognised."""
        tree = {}
        for pid in descendants([self.pid, *orphans]):
            status = read_status(pid)
            if status is not None:
                tree[pid] = status.start_ticks
        self.members.update(tree)
        return tree

    def _drain(self) -> None:
        """What the dead have left in the pipe; bounded, as a process outside the tree may hold it too."""
        if self.output < 0:
            return
        with contextlib.suppress(BlockingIOError):
            for _ in range(fcntl.fcntl(self.output, fcntl.F_GETPIPE_SZ) // _CHUNK_BYTES + 1):
                data = os.read(self.output, _CHUNK_BYTES)
                if not data:
                    break
                self.log.append(data)
        self.close_output()


def _open_log(order: StartOrder) -> StepLog:
    log_errno = None
    try:
        return StepLog(order.log, order.log_limit_bytes)
    except OSError as error:
        reason, log_errno = error.strerror, error.errno
    except ValueError as error:
        reason = str(error)
    raise NotStartedError(f"the log file {order.log!r} cannot be opened: {reason}", True, log_errno)


def start_cold(order: StartOrder) -> tuple[int, int]:
    """The pid of the main process and the descriptor its output is read from."""
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise NotStartedError.of("no pipe for the output", error) from error
    try:
        os.set_blocking(reader, False)
        return start_process(order.argv, order.cwd, order.env, writer), reader
    except NotStartedError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
