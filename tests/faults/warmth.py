"""Looks at warm steps: whether they were forked at all, and whether they outlived the warm process they came from."""

from __future__ import annotations

from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.pipeline.step import BEAT_SECONDS
from tests.faults.play import Played

KILL = "kill warm process"
_MIN_SHARE = 0.5
"""Faults make some cold starts: when a process dies while it imports, steps are started cold for a minute."""
_LAST_SIGN_SECONDS = 2 * BEAT_SECONDS


def were_forked(played: Played) -> Look:
    """Red when the lab did not test what it says."""
    ran = played.evidence.executions
    forked = sum(one.forked for one in ran)
    note = f"{forked} of {len(ran)} executions were forked from a warm process"
    return Look(notes=[note], red=[note] if not ran or forked < _MIN_SHARE * len(ran) else [])


def warm_processes_killed(lab: Lab, played: Played) -> Look:
    """Red when there never was one to kill."""
    killed = sum(machine.warm_kills for machine in lab.machines.values())
    note = f"{killed} warm processes were killed"
    return outlived_warm_processes(played) + Look(notes=[note], red=[] if killed else [note])


def outlived_warm_processes(played: Played) -> Look:
    """A step goes on when the process that it was forked from is killed."""
    look, met = Look(), 0
    for fault, at in played.faults:
        there = [one for one in played.evidence.executions if one.machine == fault.target and one.begin < at]
        if fault.kind == KILL:
            met += sum(one.last > at for one in there)
            look.red.extend(
                f"run {one.run}, {one.step} died on {one.machine} with a warm process"
                for one in there
                if not one.ended and abs(one.last - at) < _LAST_SIGN_SECONDS
            )
    look.notes.append(f"{met} steps were in their middle when a warm process beside them was killed")
    return look
