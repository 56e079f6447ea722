"""Turns a fork of a warm process into the process of one step, as `exec` would have made it.

The order is a file of JSON, version 1: `{"v": 1, "argv": [interpreter, script, …], "cwd": …, "env": {…}, "marker": …}`;
`marker` names the variable of `env` by which /proc tells whose process this is. On the gate the fork says `ready PID`
once it is the supervisor's child, or `cold REASON` when it cannot become this step; it goes on at `go`, and ends if the
gate is closed instead: nothing of the step runs before its supervisor knows of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from workers.warm.after_fork import make_fresh
from workers.warm.fork_safety import close_all_but, reopen
from workers.warm.module_shadowing import shadowing
from workers.warm.proc_title import ProcessArea

READY, COLD, GO = b"ready", b"cold", b"go"

Changes = Mapping[bytes, tuple[bytes | None, bytes | None]]
"""Name -> its value before and now, None where there is none."""

_ENCODING = ("utf-8", "surrogateescape")
_PARENT_PAUSE_MS = 1
_MAX_REASON_BYTES = 1000
_STREAMS = range(3)


@dataclass(frozen=True, slots=True)
class Script:
    """What to run, as the command line named it, in the step's own folder."""

    argv: tuple[str, ...]
    orig_argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Becoming:
    """What the warm process knows that its forks need.

    `changes` is what the imports set in the environment, `kept_descriptors` what they left open, and `modules` what
    they have loaded; `hideable` are the names that a file beside a script would have been imported under instead.
    """

    supervisor: int
    area: ProcessArea
    kept_descriptors: frozenset[int]
    modules: tuple[str, ...]
    hideable: frozenset[str]
    changes: Changes

    def become(self, order: int, output: int, gate: int) -> Script:
        """Returns in the step, ready to run its script; ends this process when there is to be none."""
        try:
            script = self._prepare(order, output, gate)
        except Exception as error:  # noqa: BLE001 - a cold start will do, or say what is wrong
            _give_up(gate, f"{type(error).__name__}: {error}")
        self._wait_for_parent(gate)
        try:
            # Out of the warm process' group, which is killed as a whole when that ends.
            os.setpgid(0, os.getpgid(self.supervisor))
            os.write(gate, b"%s %d" % (READY, os.getpid()))
            if os.read(gate, len(GO)) != GO:
                os._exit(0)
        except OSError:
            os._exit(0)
        os.setsid()
        os.close(gate)
        return script

    def _wait_for_parent(self, gate: int) -> None:
        """Until the process in between is gone; the gate is closed when the supervisor is."""
        closed = select.poll()
        closed.register(gate, select.POLLIN)
        while os.getppid() != self.supervisor:
            if closed.poll(_PARENT_PAUSE_MS):
                os._exit(0)

    def _prepare(self, order: int, output: int, gate: int) -> Script:
        os.lseek(order, 0, os.SEEK_SET)
        with open(order, "rb", closefd=False) as file:
            fields = json.loads(file.read())
        argv = tuple(os.fsdecode(word.encode(*_ENCODING)) for word in fields["argv"])
        environment = {name.encode(*_ENCODING): value.encode(*_ENCODING) for name, value in fields["env"].items()}
        os.chdir(fields["cwd"].encode(*_ENCODING))
        hidden = shadowing(argv[1], self.hideable)
        if hidden:
            _give_up(gate, f"{hidden} beside the script hides a module that is loaded already")
        self._take_descriptors(output, gate)
        self._take_environment(environment)
        marker = fields["marker"].encode()
        first = {marker: environment[marker]} if marker in environment else {}
        self.area.write([os.fsencode(word) for word in argv], {**first, **environment})
        make_fresh()
        return Script(argv[1:], argv)

    def _take_descriptors(self, output: int, gate: int) -> None:
        """No input, the step's output, the gate, what the imports opened, and nothing else."""
        null = os.open(os.devnull, os.O_RDONLY)
        for number, source in enumerate((null, output, output)):
            os.dup2(source, number)
        close_all_but({*_STREAMS, gate, *self.kept_descriptors})
        for number in self.kept_descriptors:
            reopen(number)

    def _take_environment(self, environment: Mapping[bytes, bytes]) -> None:
        """The step's own, and in it what the imports changed, where the step has not chosen another value."""
        os.environb.clear()
        os.environb.update(environment)
        for name, (before, value) in self.changes.items():
            if environment.get(name) != before:
                continue
            if value is None:
                os.environb.pop(name, None)
            else:
                os.environb[name] = value


def refuse(gate: int, reason: str) -> None:
    """Tell the supervisor that this step must be started cold."""
    with contextlib.suppress(OSError):
        os.write(gate, COLD + b" " + reason.encode(errors="backslashreplace")[:_MAX_REASON_BYTES])


def _give_up(gate: int, reason: str) -> NoReturn:
    refuse(gate, reason)
    os._exit(0)
