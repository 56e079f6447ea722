"""The processes of a lab, found by marks in their environment, whatever namespace, session or parent they have."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

LAB = "FAULT_LAB"
MACHINE = "FAULT_LAB_MACHINE"
STEP = "FAULT_LAB_STEP"
WITNESS = "FAULT_LAB_WITNESS"

_KILL_ROUNDS = 20
_WARM = "pipeline_queue: warm Python with"


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    argv: tuple[str, ...]
    marks: Mapping[str, str]

    def __str__(self) -> str:
        return f"process {self.pid} of machine {self.marks.get(MACHINE)}: {' '.join(self.argv)[:120]}"


def processes(lab: str, keep: Callable[[Process], bool] = lambda _: True) -> list[Process]:
    """Every live process of the lab that is to be kept; one that shows no marks has those of its parent."""
    found: dict[int, Process] = {}
    untagged: list[Process] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            process = _process(Path(entry.path))
            if process is not None and process.marks.get(LAB) == lab:
                found[process.pid] = process
            elif process is not None and LAB not in process.marks:
                untagged.append(process)
    # A warm process has none, nor what was forked from it a moment ago.
    while below := [process for process in untagged if process.parent in found and process.pid not in found]:
        found.update({process.pid: replace(process, marks=found[process.parent].marks) for process in below})
    return [process for process in found.values() if keep(process)]


def on_machine(machine: str) -> Callable[[Process], bool]:
    return lambda process: process.marks.get(MACHINE) == machine


def is_step(process: Process) -> bool:
    return STEP in process.marks


def is_warm(process: Process) -> bool:
    """Whether steps are forked from it."""
    return process.argv[:1] == (_WARM,)


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


def _process(folder: Path) -> Process | None:
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    marks = dict(
        item.decode(errors="replace").split("=", 1)
        for item in (folder / "environ").read_bytes().split(b"\0")
        if item.startswith(LAB.encode()) and b"=" in item
    )
    argv = tuple(word.decode(errors="replace") for word in (folder / "cmdline").read_bytes().split(b"\0") if word)
    return Process(int(folder.name), int(fields[1]), argv, marks)
