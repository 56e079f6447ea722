"""The supervisor's end of the socket to its worker: orders in and reports out, never waiting."""

from __future__ import annotations

import select
import socket
import struct
import time

from workers.supervisor.protocol import ExecutionResult, Order, Started, read_orders

_RECEIVE_BYTES = 65536
_SOON_SECONDS = 0.02


class Channel:
    """`is_open` turns False for good when the worker's end is closed."""

    def __init__(self, channel: socket.socket, poller: select.epoll) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._poller = poller
        self._received = bytearray()
        self._unsent = bytearray()
        self._put_off = bytearray()
        self.due_at: float | None = None
        """When what was put off is to be sent, by `time.monotonic()`."""
        self._wanted = select.EPOLLIN
        self.is_open = True
        poller.register(channel, self._wanted)

    def fileno(self) -> int:
        return self._channel.fileno()

    def peer_pid(self) -> int:
        """The process that made the socket pair."""
        credentials = self._channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        return pid

    def receive(self) -> list[Order | ValueError]:
        """The orders that are complete now, an error for each that cannot be read.

        One read at a time, so that frames cannot starve the steps.
        """
        try:
            data = self._channel.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.is_open = False
            return []
        self._received += data
        if b"\n" not in data:
            return []
        *lines, self._received = self._received.split(b"\n")
        return read_orders(lines)

    def send(self, report: ExecutionResult) -> None:
        self._send_put_off()
        self._unsent += report.encode()
        self.flush()

    def send_soon(self, report: Started) -> None:
        """Sends it with the next report, at the latest in 20 ms: each frame wakes a thread of the worker."""
        self._put_off += report.encode()
        if self.due_at is None:
            self.due_at = time.monotonic() + _SOON_SECONDS

    def flush(self) -> None:
        """Send what the worker takes now: a paused worker must not pause its supervisor."""
        if self.due_at is not None and time.monotonic() >= self.due_at:
            self._send_put_off()
        if not self._unsent:
            return
        try:
            del self._unsent[: self._channel.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.is_open = False
            return
        wanted = select.EPOLLIN | (select.EPOLLOUT if self._unsent else 0)
        if wanted != self._wanted:
            self._wanted = wanted
            self._poller.modify(self._channel, wanted)

    def _send_put_off(self) -> None:
        self._unsent += self._put_off
        self._put_off.clear()
        self.due_at = None
