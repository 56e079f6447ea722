"""Flower of the embedded service: on a socket that the service itself listens on, shown once it answers.

The service listens before Flower does and for as long as it lives, so the link with this folder's password never leads
to somebody else's server.
"""

from __future__ import annotations

import errno
import http.client
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.settings import FLOWER_SOCKET

_ADDRESS = "127.0.0.1"
_BACKLOG = 128
_MAX_STARTS = 3
_ANSWER_SECONDS = 0.3

Start = Callable[[list[str], dict[str, str], Sequence[int]], subprocess.Popen[bytes]]


@dataclass
class EmbeddedFlower:
    """`say` tells a person its link, or why there is none."""

    listener: socket.socket
    say: Callable[[str], None]
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _launch: Callable[[], subprocess.Popen[bytes]] | None = field(default=None, init=False)
    _starts: int = field(default=0, init=False)
    _is_shown: bool = field(default=False, init=False)

    @classmethod
    @contextmanager
    def listening(cls, port: int, any_port: bool, say: Callable[[str], None]) -> Iterator[EmbeddedFlower]:
        """On `port` (0: any free one), or with `any_port` on a free one when that is taken. Raises InputError."""
        with socket.socket() as listener:
            try:
                _listen(listener, port)
            except OSError as error:
                if not any_port:
                    why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened: {error.strerror}"
                    raise InputError(
                        f"port {port} {why}, so Flower cannot start; choose another with --port, or --port 0 for any"
                    ) from error
                say(f"port {port} is in use; Flower uses another one (--port chooses it)")
                _listen(listener, 0)
            yield cls(listener, say)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://me:{self.password}@{_ADDRESS}:{self.port}/"

    def start(self, start: Start, environment: Mapping[str, str]) -> None:
        """Has `start` start it: a command, its environment, the descriptors that it inherits."""
        descriptor = self.listener.fileno()
        # Every user of this machine reaches the loopback address.
        private = {**environment, "FLOWER_BASIC_AUTH": f"me:{self.password}", FLOWER_SOCKET: str(descriptor)}
        command = [sys.executable, "-P", "-m", "workers", "flower", f"--address={_ADDRESS}", f"--port={self.port}"]
        self._launch = lambda: start(command, private, (descriptor,))
        self._start()

    def look(self) -> None:
        """Shows the link once Flower answers; starts it again when it has ended, a few times."""
        if self.process is None:
            return
        if self.process.poll() is not None:
            code, self.process = self.process.returncode, None
            if self._starts < _MAX_STARTS:
                self.say(f"Flower exited with {code}; restarting it (see flower.log)")
                self._start()
            else:
                self.say(f"Flower exited with {code} and is not restarted; see flower.log. Runs continue without it")
        elif not self._is_shown and self._answers():
            self._is_shown = True
            self.say(f"Flower: {self.url}")

    def _start(self) -> None:
        assert self._launch is not None
        self.process = self._launch()
        self._starts += 1

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(_ADDRESS, self.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", "/healthcheck")
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _listen(listener: socket.socket, port: int) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((_ADDRESS, port))
    listener.listen(_BACKLOG)
