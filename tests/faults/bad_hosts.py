"""How many attempts were wasted on machines whose interpreter did not work."""

from __future__ import annotations

import json
from collections import Counter

from tests.faults.interpreters import BREAK
from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.play import Played

_MAX_WASTED = 5
"""Attempts for each time that an interpreter breaks."""
_NOT_EXECUTED = "was not started: "


def few_wasted(lab: Lab, played: Played) -> Look:
    """Whether each broken interpreter cost at most five attempts and no run; by what lies on the storage."""
    breaks = Counter(fault.target for fault, _ in played.faults if fault.kind == BREAK)
    wasted: Counter[str] = Counter()
    for file in lab.storage.glob("sweeps/*/runs/*/*/step.json"):
        record = json.loads(file.read_bytes())
        if record["state"] in ("retrying", "failed") and _NOT_EXECUTED not in record["message"]:
            wasted[record["worker"].partition("@")[0]] += 1
    states = [json.loads(file.read_bytes())["state"] for file in lab.storage.glob("sweeps/*/runs/*/run.json")]
    look = Look()
    for machine, count in breaks.items():
        look.notes.append(f"{machine}: its interpreter broke {count} times, which wasted {wasted[machine]} attempts")
        if wasted[machine] > _MAX_WASTED * count:
            look.short.append(look.notes[-1])
    if set(states) - {"succeeded"}:
        look.red.append(f"runs ended as {Counter(states)}")
    return look
