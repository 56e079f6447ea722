"""The processes of a lab, found by marks in their environment, whatever namespace, session or parent they have."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LAB = "FAULT_LAB"
MACHINE = "FAULT_LAB_MACHINE"
STEP = "FAULT_LAB_STEP"
WITNESS = "FAULT_LAB_WITNESS"

_KILL_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    argv: tuple[str, ...]
    marks: Mapping[str, str]

    def __str__(self) -> str:
        return f"process {self.pid} of machine {self.marks.get(MACHINE)}: {' '.join(self.argv)[:120]}"


def processes(lab: str, keep: Callable[[Process], bool] = lambda _: True) -> list[Process]:
    """Every live process of the lab that is to be kept."""
    mark = f"{LAB}={lab}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            environment = Path(entry.path, "environ").read_bytes().split(b"\0")
            if mark in environment:
                process = _process(Path(entry.path), environment)
                if process is not None and keep(process):
                    found.append(process)
    return found


def on_machine(machine: str) -> Callable[[Process], bool]:
    return lambda process: process.marks.get(MACHINE) == machine


def is_step(process: Process) -> bool:
    return STEP in process.marks


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def signal_all(lab: str, keep: Callable[[Process], bool], number: signal.Signals) -> None:
    """To all of them, also to those that are started meanwhile."""
    told: set[int] = set()
    while fresh := [process.pid for process in processes(lab, keep) if process.pid not in told]:
        for pid in fresh:
            send(pid, number)
        told.update(fresh)


def end_all(lab: str, keep: Callable[[Process], bool] = lambda _: True) -> None:
    """Kills them and waits until they are gone."""
    for _ in range(_KILL_ROUNDS):
        left = processes(lab, keep)
        if not left:
            return
        for process in left:
            send(process.pid, signal.SIGKILL)
        time.sleep(0.05)


def _process(folder: Path, environment: list[bytes]) -> Process | None:
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    marks = dict(
        item.decode(errors="replace").split("=", 1)
        for item in environment
        if item.startswith(LAB.encode()) and b"=" in item
    )
    argv = tuple(word.decode(errors="replace") for word in (folder / "cmdline").read_bytes().split(b"\0") if word)
    return Process(int(folder.name), int(fields[1]), argv, marks)
