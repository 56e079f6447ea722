"""The supervisor's loop: starts step processes, copies their output to log files, has their trees killed.

One small single-threaded process per worker: `python -m workers.supervisor FD`, where FD is its end of a
socket pair. The frames on it are described in `workers.supervisor.protocol`. When the other end closes, or the worker
dies, every tree is killed and the supervisor exits; signals meant for the worker do not end it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import replace

from workers.supervisor.channel import Channel
from workers.supervisor.memory import SystemKills, was_killed
from workers.supervisor.orphans import Orphans
from workers.supervisor.process_tag import tag_own_process
from workers.supervisor.process_tree import become_subreaper, descendants, read_status, reap, send_signal
from workers.supervisor.protocol import (
    Cause,
    ExecutionResult,
    MalformedStartError,
    Order,
    Renewal,
    Started,
    StartOrder,
    StopOrder,
    lease_clock,
)
from workers.supervisor.step_process import NotStartedError
from workers.supervisor.supervised_step import SupervisedStep
from workers.supervisor.warm_pool import WarmPool
from workers.supervisor.warm_step import WarmStep
from workers.supervisor.watchdog import start_watchdog

_LEFTOVER_GRACE_SECONDS = 2.0
_KILL_ROUNDS = 8
# The timer of epoll stands still while the machine is suspended; leases do not.
_LEASE_CHECK_SECONDS = 1.0
# epoll refuses a timeout of more than some weeks.
_MAX_WAIT_SECONDS = 3600.0


class Supervisor:
    """The event loop. No work in it may wait for anything but the loop itself."""

    def __init__(self, channel: socket.socket, tag: int | None) -> None:
        """`mark` is what all the processes below this one carry, if anything."""
        self._poller = select.epoll()
        self._channel = Channel(channel, self._poller)
        self._steps: dict[str, SupervisedStep] = {}
        self._outputs: dict[int, SupervisedStep] = {}
        self._warm = WarmPool(self._poller, self._begin, self._fail)
        self._orphans = Orphans(self._warm.pids)
        self._system_kills = SystemKills()
        self._is_serving = True
        self._wakeups = _wake_on_child_exit()
        self._poller.register(self._wakeups, select.EPOLLIN)
        self._watchdog: int | None = None
        self._worker = _watch_worker(self._channel.peer_pid())
        if self._worker is not None:
            self._poller.register(self._worker, select.EPOLLIN)
            if tag is not None:
                self._watchdog = start_watchdog(self._worker, tag)

    def run(self) -> None:
        """Serve until the worker is gone; then nothing of any step lives."""
        while self._is_serving and self._channel.is_open:
            for descriptor, _ in self._poller.poll(self._seconds_to_wait()):
                self._handle(descriptor)
            self._keep_deadlines()
            self._channel.flush()
        # The watchdog last: until then it stands in for us, should we be killed before we are done.
        _kill_all_descendants(but=self._watchdog)
        _kill_all_descendants()

    def _handle(self, descriptor: int) -> None:
        if descriptor == self._wakeups:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeups, 4096)
            self._settle()
        elif descriptor == self._channel.fileno():
            for order in self._channel.receive():
                self._obey(order)
        elif descriptor == self._worker:
            # A forked copy of the worker may keep its end of the socket open; its own death is certain.
            self._is_serving = False
        else:
            step = self._outputs.get(descriptor)
            if step is not None and not step.copy_output():
                del self._outputs[descriptor]
                step.close_output()
            self._warm.handle(descriptor)

    def _obey(self, order: Order | ValueError) -> None:
        match order:
            case StartOrder():
                self._start(order)
            case Renewal():
                self._renew(order)
            case StopOrder():
                self._stop(order)
            case MalformedStartError() if order.id not in self._steps:
                self._report_malformed(order.id, order)
            case ValueError():
                _complain(f"a frame was ignored: {order}")

    def _start(self, order: StartOrder) -> None:
        if order.id in self._steps:
            _complain(f"a frame was ignored: execution {order.id!r} is already running")
            return
        if not self._steps:
            self._system_kills.begin()
        try:
            step = WarmStep(order, self._warm.facts) if order.preload else SupervisedStep(order)
        except NotStartedError as error:
            self._report_not_started(order.id, error)
            return
        except ValueError as error:
            self._report_malformed(order.id, error)
            return
        self._steps[order.id] = step
        if isinstance(step, WarmStep):
            self._warm.start(step)
        else:
            self._begin(step)

    def _begin(self, step: SupervisedStep) -> None:
        """Its main process runs."""
        self._outputs[step.output] = step
        self._poller.register(step.output, select.EPOLLIN)
        self._channel.send_soon(Started(step.id, step.pid))

    def _fail(self, step: SupervisedStep, error: NotStartedError) -> None:
        del self._steps[step.id]
        step.log.close()
        self._report_not_started(step.id, error)

    def _report_not_started(self, step_id: str, error: NotStartedError) -> None:
        self._channel.send(
            ExecutionResult(
                step_id,
                Cause.NOT_STARTED,
                error=error.text,
                infrastructure=error.infrastructure,
                log_errno=error.log_errno,
            )
        )

    def _report_malformed(self, step_id: str, error: ValueError) -> None:
        self._report_not_started(step_id, NotStartedError(f"the order to start it is malformed: {error}", True))

    def _renew(self, renewal: Renewal) -> None:
        for step_id in renewal.ids:
            step = self._steps.get(step_id)
            if step is not None and step.lease_until is not None:
                step.lease_until = max(step.lease_until, renewal.lease_until)

    def _stop(self, order: StopOrder) -> None:
        step = self._steps.get(order.id)
        if step is None:
            return
        step.end_because(Cause.STOPPED, order.reason)
        if order.at_once:
            self._kill(step)
        elif not step.is_ending:
            step.terminate(self._orphans.of(step.id), step.grace_seconds)

    def _seconds_to_wait(self) -> float | None:
        """Until the nearest deadline of any step, None when there is none."""
        nearest = min(filter(None, (self._warm.deadline(), self._channel.due_at)), default=None)
        leased = False
        for step in self._steps.values():
            leased = leased or step.lease_until is not None
            for moment in (step.kill_at, step.timeout_at, step.memory.check_at if step.memory else None):
                if moment is not None and (nearest is None or moment < nearest):
                    nearest = moment
        wait = None if nearest is None else min(_MAX_WAIT_SECONDS, max(0.0, nearest - time.monotonic()))
        if not leased:
            return wait
        now = lease_clock()
        leases = [step.lease_until - now for step in self._steps.values() if step.lease_until is not None]
        return max(0.0, min(_LEASE_CHECK_SECONDS if wait is None else wait, _LEASE_CHECK_SECONDS, *leases))

    def _keep_deadlines(self) -> None:
        self._warm.keep_deadlines()
        if not self._steps:
            return
        self._system_kills.keep_looking()
        now, lease_now = time.monotonic(), lease_clock()
        for step in list(self._steps.values()):
            if step.lease_until is not None and step.lease_until <= lease_now:
                step.lease_until = None
                step.end_because(Cause.LEASE_LOST)
                self._kill(step)
            elif step.memory and step.memory.check_at <= now and self._is_over_memory(step):
                step.end_because(Cause.MEMORY)
                self._kill(step)
            elif step.kill_at is not None:
                if step.kill_at <= now:
                    self._kill(step)
            elif step.timeout_at is not None and step.timeout_at <= now:
                step.timeout_at = None
                if not step.notice_exit():
                    step.end_because(Cause.TIMEOUT)
                    step.terminate(self._orphans.of(step.id), step.grace_seconds)

    def _is_over_memory(self, step: SupervisedStep) -> bool:
        # Nobody tells when a daemon's parent, which is no child of ours, has left it to us.
        self._orphans.refresh(self._steps.values())
        return step.is_over_memory(self._orphans.of(step.id))

    def _kill(self, step: SupervisedStep) -> None:
        for _ in range(_KILL_ROUNDS):
            self._orphans.refresh(self._steps.values())
            if not step.kill(self._orphans.of(step.id)):
                return

    def _settle(self) -> None:
        """After a death among our children: end every execution whose whole tree is dead."""
        self._warm.settle()
        exited = [step for step in self._steps.values() if step.notice_exit()]
        if not self._orphans.refresh(self._steps.values()):
            signal.raise_signal(signal.SIGCHLD)
            return
        for step in exited:
            left = self._orphans.of(step.id)
            if not left:
                self._finish(step)
            elif not step.is_ending:
                step.terminate(left, _LEFTOVER_GRACE_SECONDS)

    def _finish(self, step: SupervisedStep) -> None:
        self._outputs.pop(step.output, None)
        del self._steps[step.id]
        is_outlived = self._orphans.is_outlived(step.id)
        self._orphans.release(step.id)
        result = replace(step.collect(), is_outlived=is_outlived)
        if was_killed(result) and self._system_kills.happened_lately():
            result = replace(result, cause=Cause.OUT_OF_MEMORY)
        self._channel.send(result)


def _wake_on_child_exit() -> int:
    """A descriptor that becomes readable whenever a child has died."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader


def _watch_worker(worker: int) -> int | None:
    """A descriptor that becomes readable when the worker dies; None where the kernel has none."""
    if os.getppid() != worker:
        raise SystemExit(1)
    try:
        return os.pidfd_open(worker)
    except OSError:
        return None


def _kill_all_descendants(*, but: int | None = None) -> None:
    """Kill until this process has no child left `but` this one."""
    pause = 0.001
    while pids := [pid for pid in descendants([os.getpid()]) if pid not in (os.getpid(), but)]:
        for pid in pids:
            status = read_status(pid)
            if status is not None:
                send_signal(pid, status.start_ticks, signal.SIGKILL)
                if status.parent == os.getpid():
                    reap(pid)
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


def _complain(text: str) -> None:
    """A line for the worker's own log, unless that would have to wait."""
    with contextlib.suppress(OSError):
        poller = select.poll()
        poller.register(2, select.POLLOUT)
        if poller.poll(0):
            os.write(2, f"supervisor {os.getpid()}: {text}\n".encode(errors="backslashreplace")[:4096])


def main(descriptor: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    tag = tag_own_process()
    os.set_inheritable(descriptor, False)
    os.chdir("/")
    Supervisor(socket.socket(fileno=descriptor), tag).run()
