"""One supervisor process as its worker sees it: start, send, receive, and what is done when it is gone."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from pipeline_queue.contract.wording import counted
from workers.orphaned_steps import kill_orphans
from workers.supervisor.process_tag import process_tag
from workers.supervisor.protocol import ExecutionResult, Order, Started, StartOrder, decode_report
from workers.supervisor.signal_names import signal_name

_RECEIVE_BYTES = 65536
_SEND_SECONDS = 10
_EXIT_SECONDS = 10.0
_ORPHANS_SECONDS = 10.0


class SupervisorLink:
    """A running supervisor. `on_result` and `on_lost` are called in the link's own thread.

    `on_lost` comes exactly once and last, with a plain sentence, when the supervisor and all it started are
    dead.
    """

    def __init__(
        self,
        on_result: Callable[[ExecutionResult], None],
        on_lost: Callable[[SupervisorLink, str], None],
    ) -> None:
        """Raises OSError when the process cannot be started."""
        self._on_result = on_result
        self._on_lost = on_lost
        self._channel, theirs = socket.socketpair()
        with theirs:
            # A supervisor that no longer reads must not hold the worker's threads for ever.
            timeout = struct.pack("ll", _SEND_SECONDS, 0)
            self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
            try:
                self._process = _spawn(theirs)
            except OSError:
                self._channel.close()
                raise
        self._process_tag = process_tag(self.pid)
        self._send_lock = threading.Lock()
        self._running_lock = threading.Lock()
        self._running: dict[str, int | None] = {}
        self._is_closing = False
        self._reader = threading.Thread(target=self._read, name="supervisor-link", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, order: StartOrder) -> None:
        with self._running_lock:
            self._running[order.id] = None
        self.send(order)

    def send(self, order: Order) -> None:
        """Never raises for a supervisor that is gone: `on_lost` says that, once."""
        data = order.encode()
        try:
            with self._send_lock:
                self._channel.sendall(data)
        except BlockingIOError:
            # Half a frame may have been sent, and nobody reads: this supervisor is of no more use.
            self._process.kill()
        except OSError:
            pass

    def close(self) -> None:
        """End the supervisor, and with it all it runs; returns when both are gone."""
        self._is_closing = True
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def _read(self) -> None:
        received = b""
        while data := self._receive():
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                self._handle(decode_report(line))
        self._report_death()

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(_RECEIVE_BYTES)
        except OSError:
            return b""

    def _handle(self, report: Started | ExecutionResult | None) -> None:
        match report:
            case Started():
                with self._running_lock:
                    self._running[report.id] = report.pid
            case ExecutionResult():
                with self._running_lock:
                    self._running.pop(report.id, None)
                self._on_result(report)

    def _report_death(self) -> None:
        """Make sure that neither the supervisor nor anything it started lives."""
        try:
            status = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        with self._running_lock:
            # In the supervisor's session are its warm processes, what they forked a moment ago, and its watchdog.
            steps = {pid for pid in self._running.values() if pid is not None}
            left = kill_orphans(set(self._running), steps, self.pid, self._process_tag, _ORPHANS_SECONDS)
        # Not before now: a thread that still sends must not meet another socket under this number.
        with self._send_lock:
            self._channel.close()
        self._on_lost(self, self._describe_death(status, left))

    def _describe_death(self, status: int, left: int) -> str:
        if self._is_closing:
            text = "the worker is closing; the step was ended"
        elif status < 0:
            text = f"the worker's supervisor was ended by {signal_name(-status)}; its steps were ended with it"
        else:
            text = f"the worker's supervisor exited with status {status}; its steps were ended with it"
        return text if left == 0 else f"{text}, except {counted(left, 'process', 'processes')} that cannot be killed"


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    # The folder that holds this package, first: `-P` keeps the worker's current directory out of the
    # supervisor's imports, where a user's `signal.py` would otherwise be found.
    home = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "workers.supervisor", str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{inherited}" if inherited else home},
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
