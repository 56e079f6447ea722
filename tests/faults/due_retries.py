"""Steps that fail and are tried again while clocks are wrong: none before its time, none forgotten."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from tests.faults.flaky_pipeline import flaky
from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.play import Played
from tests.faults.products import submit_sweep

_END_SECONDS = 300.0
_FAILURES = 3
_ROUNDING_SECONDS = 0.05
_RECORDED_SECONDS = 3.0
"""A failure that is older than this is recorded, also on a busy machine."""
_LATE_SECONDS = 45.0
"""What a kill of a worker or of the reconciler may add to a wait."""


def retry_steps(runs: int) -> Callable[[Lab, int], Callable[[], Look]]:
    """So many steps fail three times each; README promises waits of 1 s, 2 s and 4 s."""

    def begin(lab: Lab, _: int) -> Callable[[], Look]:
        sweep = _submit(lab, runs)
        return lambda: _ended(lab, sweep, runs)

    return begin


def retries_in_time(lab: Lab, played: Played) -> Look:
    """A look at what the steps told, when all is done."""
    kills = [(fault.target, at) for fault, at in played.faults]
    return judge(lab.witness.with_name(flaky.RETRIES).read_text().splitlines(), kills)


def judge(lines: Iterable[str], kills: Sequence[tuple[str, float]] = ()) -> Look:
    """By JSON lines of n, event, machine and boot seconds, in the order in which they came.

    A failure on a machine that was killed (its name and the moment) right then may never have become known: what
    follows is no retry but another machine's taking over, and its waits are not compared.
    """
    look = Look()
    by_step: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in map(json.loads, lines):
        by_step[line["n"]].append(line)
    for n, told in by_step.items():
        failed: list[dict[str, Any]] = []
        unknown = False
        for line in told:
            if line["event"] == "failed":
                failed.append(line)
            elif failed:
                at = failed[-1]["boot"]
                unknown = unknown or any(
                    machine == failed[-1]["machine"] and -_RECORDED_SECONDS < moment - at < _RECORDED_SECONDS
                    for machine, moment in kills
                )
                if not unknown:
                    _compare(look, n, len(failed), line["boot"] - at)
        if len(failed) != _FAILURES:
            look.red.append(f"retries: step {n} failed {len(failed)} times, not {_FAILURES}")
    look.notes.append(f"retries: {len(by_step)} steps, {len(by_step) * _FAILURES} waits")
    return look


def _compare(look: Look, n: int, failures: int, waited: float) -> None:
    due = 2.0 ** (failures - 1)
    if waited < due - _ROUNDING_SECONDS:
        look.red.append(f"retries: step {n} began again {waited:.2f} s after failure {failures}, not {due:.0f} s")
    if waited > due + _LATE_SECONDS:
        look.short.append(f"retries: step {n} began again {waited:.1f} s after failure {failures}")


def _submit(lab: Lab, runs: int) -> str:
    source, folder = Path(flaky.__file__).parent, lab.folder / "flaky"
    folder.mkdir()
    for name in ("flaky.py", "pipeline.yaml"):
        (folder / name).write_bytes((source / name).read_bytes())
    texts = (f"n=range(0,{runs})", f"failures={_FAILURES}")
    return submit_sweep(lab.server.url, lab.storage, folder / "pipeline.yaml", texts)


def _ended(lab: Lab, sweep: str, runs: int) -> Look:
    with Client(lab.storage, Settings(lab.server.url, lab.storage, lab.folder)) as client:
        try:
            client.wait_sweep(sweep, _END_SECONDS)
        except TimeoutError as error:
            return Look(red=[f"retries: {error}"])
    done = len(list((lab.storage / "sweeps" / sweep / "runs").glob("*/flake/outputs/done")))
    red = [] if done == runs else [f"retries: {done} of {runs} steps ended well"]
    return Look(red=red)
