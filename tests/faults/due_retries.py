"""Steps that fail and are tried again while clocks are wrong: none before its time, none forgotten."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from tests.faults.flaky_pipeline import flaky
from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.faults.products import submit_sweep

_END_SECONDS = 300.0
_FAILURES = 3
_ROUNDING_SECONDS = 0.05
_LATE_SECONDS = 45.0
"""What a kill of a worker or of the reconciler may add to a wait."""


def retry_steps(runs: int) -> Callable[[Lab, int], Callable[[], Look]]:
    """So many steps fail three times each; README promises waits of 1 s, 2 s and 4 s."""

    def begin(lab: Lab, _: int) -> Callable[[], Look]:
        sweep = _submit(lab, runs)
        return lambda: _ended(lab, sweep, runs)

    return begin


def judge(lines: Iterable[str], runs: int) -> Look:
    """By what the steps told: JSON lines of n, event and boot seconds, in the order in which they came."""
    look = Look()
    by_run: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for line in map(json.loads, lines):
        by_run[line["n"]].append((line["event"], line["boot"]))
    for n in range(runs):
        failed_at: list[float] = []
        for event, at in by_run[n]:
            if event == "failed":
                failed_at.append(at)
            elif failed_at:
                _compare(look, n, len(failed_at), at - failed_at[-1])
        if len(failed_at) != _FAILURES:
            look.red.append(f"retries: step {n} failed {len(failed_at)} times, not {_FAILURES}")
    look.notes.append(f"retries: {runs} steps, {runs * _FAILURES} waits")
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
    return Look(red=red) + judge((lab.witness.with_name(flaky.RETRIES)).read_text().splitlines(), runs)
