"""Looks at warm steps: whether they were forked at all, and whether they outlived the warm process they came from."""

from __future__ import annotations

from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.pipeline.step import BEAT_SECONDS
from tests.faults.play import Played

_LEAST_SHARE = 0.5
"""Faults make some cold starts: a process that dies while it imports has its steps started so for a minute."""
_BEATS = 2 * BEAT_SECONDS


def were_forked(played: Played) -> Look:
    """Red when the lab did not test what it says."""
    ran = played.evidence.executions
    forked = sum(one.forked for one in ran)
    note = f"{forked} of {len(ran)} executions were forked from a warm process"
    return Look(notes=[note], red=[note] if forked < _LEAST_SHARE * len(ran) or not ran else [])


def outlived_warm_processes(lab: Lab, played: Played) -> Look:
    """A step goes on when the process that it was forked from is killed."""
    killed = sum(machine.warm_kills for machine in lab.machines.values())
    red, met = [], 0
    for fault, at in played.faults:
        if fault.kind != "kill warm process":
            continue
        there = [one for one in played.evidence.executions if one.machine == fault.target and one.begin < at < one.last]
        met += len(there)
        died = [
            one
            for one in played.evidence.executions
            if one.machine == fault.target and one.begin < at and not one.ended and abs(one.last - at) < _BEATS
        ]
        red += [f"run {one.run}, {one.step} died on {one.machine} with a warm process" for one in died]
    note = f"{killed} warm processes were killed, beside {met} steps in their middle"
    return Look(notes=[note], red=red if killed else [*red, note])
