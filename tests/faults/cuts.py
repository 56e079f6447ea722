"""Looks at machines that were cut off: what ran there must be dead within the lease."""

from __future__ import annotations

from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.play import Played

_DEAD_WITHIN_SECONDS = 15.0


def dead_after_cut(_: Lab, played: Played) -> Look:
    look = Look()
    for number, (fault, at) in enumerate(played.faults):
        if fault.kind != "cut":
            continue
        later = played.faults[number + 1 :]
        healed = next((when for other, when in later if other.target == fault.target), float("inf"))
        there = [one for one in played.evidence.executions if one.machine == fault.target]
        caught = [one for one in there if at - 0.5 < one.last and one.begin < min(healed, at + _DEAD_WITHIN_SECONDS)]
        lived = max((one.last - at for one in caught if one.begin < healed), default=0.0)
        look.notes.append(f"{fault.target}: {len(caught)} steps met the cut, the last sign of one {lived:.1f} s after")
        look.red.extend(
            f"run {one.run}, {one.step} lived on {fault.target} for {one.last - at:.1f} s after the cut"
            for one in caught
            if one.last - at > _DEAD_WITHIN_SECONDS and one.begin < at + _DEAD_WITHIN_SECONDS
        )
    return look
