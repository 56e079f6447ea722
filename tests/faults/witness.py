"""What really ran, by the word of the steps themselves: the witness file, read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sign:
    """One line of the witness; `at` is seconds of the machine's boot clock, which no fault moves."""

    event: str
    run: int
    step: str
    execution: str
    machine: str
    pid: int
    at: float
    forked: bool = False


@dataclass(frozen=True, slots=True)
class Execution:
    """One process that executed a step; `last` is its last sign of life, `ended` whether it came to its end."""

    run: int
    step: str
    id: str
    machine: str
    begin: float
    last: float
    ended: bool
    signs: tuple[float, ...] = ()
    """Every moment at which it showed that it lived."""
    forked: bool = False
    """Whether it is a copy of a warm process, by the kernel's word."""

    def lived_after(self, moment: float) -> float:
        """For how many seconds it showed signs after that moment: one that slept until then and is ended, for none."""
        later = [at for at in self.signs if at >= moment]
        return later[-1] - later[0] if later else 0.0


def read_witness(path: Path) -> list[Sign]:
    """Every whole line, in the order in which they were appended."""
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [_sign(json.loads(line)) for line in lines]


def executions(signs: Iterable[Sign]) -> list[Execution]:
    """By begin."""
    found: dict[str, Execution] = {}
    for sign in signs:
        known = found.get(sign.execution)
        begin = known.begin if known else sign.at
        ended = sign.event == "end" or bool(known and known.ended)
        times = (*(known.signs if known else ()), sign.at)
        found[sign.execution] = Execution(
            sign.run, sign.step, sign.execution, sign.machine, begin, sign.at, ended, times, sign.forked
        )
    return sorted(found.values(), key=lambda one: one.begin)


def _sign(line: dict[str, object]) -> Sign:
    if line.get("v") != 1:
        raise ValueError(f"a line of another version of the witness: {line}")
    return Sign(
        event=str(line["event"]),
        run=int(str(line["run"])),
        step=str(line["step"]),
        execution=str(line["execution"]),
        machine=str(line["machine"]),
        pid=int(str(line["pid"])),
        at=float(str(line["boot"])),
        forked=line.get("forked") is True,
    )
