"""`bad.py KIND LOG_BYTES`: one step that misbehaves; those that end well leave the file `done`."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

_FOREVER_SECONDS = 3600
_BLOCK_BYTES = 16 << 20
_BLOCK_SECONDS = 0.01
_CHILDREN = 50
# Should nobody limit it, this machine must survive.
_MAX_MEMORY_BYTES = 4 << 30


def ignores_term() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(_FOREVER_SECONDS)


def double_fork() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for descriptor in (0, 1, 2):
                os.close(descriptor)
            time.sleep(_FOREVER_SECONDS)
        os._exit(0)


def huge_log() -> None:
    block, left = b"x" * 65_535 + b"\n", int(sys.argv[2])
    while left > 0:
        left -= os.write(1, block)


def out_of_memory() -> None:
    hoard: list[bytes] = []
    while len(hoard) * _BLOCK_BYTES < _MAX_MEMORY_BYTES:
        hoard.append(b"\1" * _BLOCK_BYTES)
        time.sleep(_BLOCK_SECONDS)


def segfault() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def closed_stdout() -> None:
    os.close(1)
    os.close(2)


def invalid_utf8() -> None:
    os.write(1, bytes(range(256)) * 64)
    Path(os.fsdecode(b"not-\xff-utf8")).touch()


def no_output() -> None:
    os._exit(0)


def many_children() -> None:
    for _ in range(_CHILDREN):
        subprocess.Popen(["sleep", str(_FOREVER_SECONDS)], start_new_session=True)


KINDS = {
    "ignores-term": ignores_term,
    "double-fork": double_fork,
    "huge-log": huge_log,
    "out-of-memory": out_of_memory,
    "segfault": segfault,
    "closed-stdout": closed_stdout,
    "invalid-utf8": invalid_utf8,
    "no-output": no_output,
    "many-children": many_children,
}
ENDS_WELL = ("double-fork", "huge-log", "closed-stdout", "invalid-utf8", "many-children")

if __name__ == "__main__":
    KINDS[sys.argv[1]]()
    Path("done").write_text(sys.argv[1])
