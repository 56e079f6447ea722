"""The supervisor's end of the socket to its worker: whole frames in and out, never waiting."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Mapping

from workers.supervisor.protocol import encode_frame

_RECEIVE_BYTES = 65536


class Channel:
    """`is_open` turns False for good when the worker's end is closed."""

    def __init__(self, channel: socket.socket, poller: select.epoll) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._poller = poller
        self._received = bytearray()
        self._unsent = bytearray()
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

    def receive(self) -> list[bytes]:
        """The lines that are complete now; one read at a time, so that frames cannot starve the steps."""
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
        return [bytes(line) for line in lines]

    def send(self, kind: str, fields: Mapping[str, object]) -> None:
        self._unsent += encode_frame(kind, fields)
        self.flush()

    def flush(self) -> None:
        """Send what the worker takes now: a paused worker must not pause its supervisor."""
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
