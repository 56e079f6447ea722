"""A warm process: imports what it was told to, says whether it may be forked, then forks for each order.

A wire format, version 1. On its socket the warm process says one line of JSON, with `"v": 1`:

    {"type": "ready", "failed": …, "resident_bytes": …}    `failed`: its forks will only tell of an import that failed
    {"type": "unfit", "reason": …}

Then each message to it is one byte with three descriptors: the order (see `becoming`), the step's output, and the gate,
on which what was forked answers.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Collection, Mapping

from workers.warm.child_setup import Becoming, Changes, refuse
from workers.warm.fork_safety import open_descriptors, what_forbids_forking
from workers.warm.hidden_frames import invisible
from workers.warm.prewarm import use_first
from workers.warm.proc_title import ProcessArea, initial_environment
from workers.warm.script_runner import ImportFailure, end_step, run_script, without_below

VERSION = 1
_DESCRIPTORS = 3
_PR_SET_PDEATHSIG = 1
_PROGRAM = 4
# With the interpreter's lock held, so that the fork has it too.
_FORK = ctypes.PyDLL(None, use_errno=True).fork


@invisible
def serve(argv: list[str], cold_modules: Collection[str]) -> None:
    """Never returns: as the warm process it serves, as a forked step it ends like the script does."""
    channel, supervisor, names = socket.socket(fileno=int(argv[1])), int(argv[2]), argv[5:]
    _die_with(supervisor)
    os.close(_PROGRAM)
    environment = initial_environment()
    area = ProcessArea.of_this_process()
    area.write([b"pipeline_queue: warm Python with", *(name.encode() for name in names)], {})
    descriptors = open_descriptors()
    sys.argv[:] = [""]
    failure = _import_all(names)
    use_first()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    reason = what_forbids_forking(descriptors)
    if reason:
        _say(channel, {"type": "unfit", "reason": reason})
        os._exit(0)
    becoming = Becoming(
        supervisor=supervisor,
        area=area,
        kept_descriptors=open_descriptors() - descriptors,
        modules=tuple(sys.modules),
        hideable=frozenset(name.partition(".")[0] for name in sys.modules.keys() - set(cold_modules)),
        changes=_changes(environment, os.environb),
    )
    gc.collect()
    gc.freeze()
    _say(channel, {"type": "ready", "failed": failure is not None, "resident_bytes": _resident_bytes()})
    order, output, gate = _wait_until_forked(channel)
    channel.close()
    script = becoming.become(order, output, gate)
    end_step(run_script(script, failure), becoming.modules)


def _die_with(supervisor: int) -> None:
    """Whatever this process is doing when its supervisor dies, it dies too; forks of it do not inherit that."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(1)


@invisible
def _import_all(names: Collection[str]) -> ImportFailure | None:
    """What the first import that failed raised, for every step to raise; None when all are there."""
    for name in names:
        try:
            exec(compile(f"import {name}", "<preload>", "exec"), {"__name__": "__main__"})  # noqa: S102 - a dotted name
        except BaseException as error:  # noqa: BLE001 - raised again in the step, whatever it is
            return ImportFailure(error.with_traceback(without_below(error.__traceback__)))
    return None


def _changes(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> Changes:
    """What Python and the imports changed in the environment."""
    pairs = {name: (before.get(name), after.get(name)) for name in [*before, *after]}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}


def _say(channel: socket.socket, message: Mapping[str, object]) -> None:
    try:
        channel.sendall(json.dumps({"v": VERSION, **message}).encode() + b"\n")
    except OSError:
        os._exit(0)


def _wait_until_forked(channel: socket.socket) -> tuple[int, ...]:
    """Forks for each order; returns in each step, with the descriptors it was given."""
    while True:
        descriptors = _receive(channel)
        try:
            between = _fork_quickly()
        except OSError as error:
            refuse(descriptors[2], f"it cannot be forked: {error.strerror}")
        else:
            if between == 0:
                _leave_to_the_supervisor(descriptors[2])
                return descriptors
            os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_quickly() -> int:
    """C's `fork`: the process in between has no use for all that Python does after one. Raises OSError."""
    between: int = _FORK()
    if between < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return between


def _leave_to_the_supervisor(gate: int) -> None:
    """Returns in a grandchild of the warm process, which its subreaper, the supervisor, becomes the parent of."""
    try:
        child = os.fork()
    except OSError as error:
        refuse(gate, f"it cannot be forked: {error.strerror}")
        os._exit(0)
    if child != 0:
        os._exit(0)


def _receive(channel: socket.socket) -> tuple[int, ...]:
    """The descriptors of the next order; ends this process when the supervisor has no more for it."""
    numbers = array.array("i")
    room = socket.CMSG_SPACE(_DESCRIPTORS * numbers.itemsize)
    try:
        data, ancillary, _, _ = channel.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        os._exit(0)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    if not data or len(numbers) != _DESCRIPTORS:
        os._exit(0)
    return tuple(numbers)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
