"""One warm process as its supervisor sees it: started, told what to fork, ended. Nothing here waits for it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import marshal
import os
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workers.supervisor.protocol import ATTEMPT_MARKER, StartOrder
from workers.supervisor.step_process import encode_env
from workers.supervisor.warm_step import WarmStep
from workers.warm.hidden_frames import invisible_code
from workers.warm.proc_title import PADDING

_VERSION = 1
_BYTECODE_HEADER_BYTES = 16
_HOME = Path(__file__).resolve().parents[2]
_MAIN = _HOME / "workers" / "warm" / "__main__.py"
_CHANNEL, _PROGRAM = 3, 4
_ROOM_BYTES = 4096
_OUTPUT_BYTES = 65536
_RECEIVE_BYTES = 65536
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


@dataclass(frozen=True, slots=True)
class WarmKey:
    """What must be the same for two steps to be forked from one process."""

    interpreter: str
    preload: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, order: StartOrder) -> WarmKey:
        early = sorted((name, value) for name, value in order.env.items() if name not in order.late)
        return cls(order.argv[0], order.preload, tuple(early))


@dataclass(frozen=True, slots=True)
class Birth:
    """A fork that was asked for: its step, the end of the gate that it answers on, and where its output comes from."""

    step: WarmStep
    gate: socket.socket
    output: int
    asked_at: float

    def close(self) -> None:
        """Whoever waits at the gate ends."""
        self.gate.close()
        with contextlib.suppress(OSError):
            os.close(self.output)


class WarmProcess:
    """Leads a process group in the supervisor's own session, in which no step is."""

    def __init__(self, key: WarmKey) -> None:
        """Raises OSError, or NotStartedError when the interpreter cannot be found."""
        self.key = key
        self.state: Literal["importing", "ready", "gone"] = "importing"
        self.waiting: deque[WarmStep] = deque()
        self.births: dict[int, Birth] = {}
        self.resident_bytes = 0
        self.forks = 0
        self.used_at = time.monotonic()
        self.import_output = b""
        self.has_imported = False
        self._received = b""
        self.channel, theirs = socket.socketpair()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        self.output = reader
        os.set_blocking(reader, False)
        self.channel.setblocking(False)
        try:
            self.pid = _spawn(key, theirs.fileno(), writer)
        except BaseException:
            self.channel.close()
            os.close(reader)
            raise
        finally:
            theirs.close()
            os.close(writer)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.births

    def read_output(self) -> bool:
        """Keep the beginning of what the imports print; False once nobody can write any more."""
        while True:
            try:
                data = os.read(self.output, _OUTPUT_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.import_output = (self.import_output + data)[:_OUTPUT_BYTES]

    def receive(self) -> dict[str, object] | None:
        """Its next message; an empty one when it is gone or makes no sense, None when there is no whole one yet."""
        try:
            data = self.channel.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self._received += data
        line, newline, self._received = self._received.partition(b"\n")
        if not newline:
            self._received = line
            return None if data and len(line) < _RECEIVE_BYTES else {}
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict) and message.get("v") == _VERSION:
                return message
        return {}

    def ask(self, step: WarmStep) -> Birth:
        """Have it fork for this step. Raises OSError when it takes no orders."""
        order = {"v": _VERSION, "argv": step.order.argv, "cwd": step.order.cwd, "env": dict(step.order.env)}
        text = json.dumps({**order, "marker": ATTEMPT_MARKER}).encode()
        gate, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        gate.setblocking(False)
        birth = Birth(step, gate, reader, time.monotonic())
        try:
            paper = os.memfd_create("order", os.MFD_CLOEXEC)
            try:
                with open(paper, "wb", closefd=False) as file:
                    file.write(text)
                socket.send_fds(self.channel, [b"."], [paper, writer, theirs.fileno()])
            finally:
                os.close(paper)
        except BaseException:
            birth.close()
            raise
        finally:
            theirs.close()
            os.close(writer)
        self.births[gate.fileno()] = birth
        self.forks += 1
        self.used_at = birth.asked_at
        return birth

    def kill(self) -> None:
        """With what its imports may have started. Nothing that answered at its gate is in this group any more."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.state = "gone"

    def close(self) -> None:
        self.channel.close()
        os.close(self.output)


def _spawn(key: WarmKey, channel: int, output: int) -> int:
    environment = {PADDING: b"." * _ROOM_BYTES, **encode_env(dict(key.environment))}
    program = _program()
    # Where they cannot be in the way of the numbers they are wanted under.
    high = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 2 * _PROGRAM) for number in (channel, output, program)]
    os.close(program)
    words = [str(_CHANNEL), str(os.getpid()), str(_HOME), "." * (_ROOM_BYTES // 4), *key.preload]
    try:
        return os.posix_spawn(
            key.interpreter,
            [key.interpreter, f"/proc/self/fd/{_PROGRAM}", *words],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, b"/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, high[0], _CHANNEL),
                (os.POSIX_SPAWN_DUP2, high[1], 1),
                (os.POSIX_SPAWN_DUP2, high[1], 2),
                (os.POSIX_SPAWN_DUP2, high[2], _PROGRAM),
            ],
            setpgroup=0,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )
    finally:
        for number in high:
            os.close(number)


def _program() -> int:
    """A file with the compiled main program, of which a step's script sees nothing below itself."""
    code = invisible_code(compile(_MAIN.read_bytes(), str(_MAIN), "exec", dont_inherit=True))
    program = os.memfd_create("warm", os.MFD_CLOEXEC)
    with open(program, "wb", closefd=False) as file:
        file.write(importlib.util.MAGIC_NUMBER + bytes(_BYTECODE_HEADER_BYTES - 4) + marshal.dumps(code))
    return program
