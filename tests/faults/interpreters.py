"""Machines whose interpreter stops working for a while, in another way each time."""

from __future__ import annotations

from pathlib import Path

from tests.faults.lab import Lab
from tests.faults.machine import Machine
from tests.own_interpreter import WAYS, mend

BREAK, MEND = "break interpreter", "mend interpreter"


def break_interpreter(lab: Lab, machine: str) -> None:
    """In the next way."""
    WAYS[lab.broken_interpreters % len(WAYS)](_python(lab.machines[machine]))
    lab.broken_interpreters += 1


def mend_interpreter(lab: Lab, machine: str) -> None:
    mend(_python(lab.machines[machine]))


def _python(machine: Machine) -> Path:
    return Path(machine.command[0])
