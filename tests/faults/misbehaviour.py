"""Bad steps among the good ones: a sweep of their own on the same workers, which must end and leave nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from tests.faults.bad_pipeline import bad
from tests.faults.bad_pipeline.bad import ENDS_WELL, KINDS
from tests.faults.lab import BadSteps, Lab
from tests.faults.look import Look
from tests.faults.products import make_warm, submit_sweep

_END_SECONDS = 600.0
_MAX_GROWTH_BYTES = 64 << 20
_MEMORY_CAUSE = "of memory, its limit is"


def misbehave(lab: Lab, _: int) -> Callable[[], Look]:
    """As the lab's plan says."""
    plan = lab.plan.bad_steps
    assert plan is not None
    before = {name: machine.memory_bytes() for name, machine in lab.machines.items()}
    sweep = _submit(lab, plan)
    return lambda: _ended(lab, sweep, plan.copies) + _memory(lab, before)


def _submit(lab: Lab, plan: BadSteps) -> str:
    source, folder = Path(bad.__file__).parent, lab.folder / "bad"
    folder.mkdir()
    (folder / "bad.py").write_bytes((source / "bad.py").read_bytes())
    text = (source / "pipeline.yaml").read_text().replace("TIMEOUT", plan.timeout)
    (folder / "pipeline.yaml").write_text(text)
    if lab.product.warm:
        make_warm(folder / "pipeline.yaml")
    texts = (f"kind={','.join(KINDS)}", f"copy=range(0,{plan.copies})", f"log_bytes={plan.log_bytes}")
    return submit_sweep(lab.server.url, lab.storage, folder / "pipeline.yaml", texts)


def _ended(lab: Lab, sweep: str, copies: int) -> Look:
    """Whether each kind ended as it should; by its published file, not by what the product says of it."""
    with Client(lab.storage, Settings(lab.server.url, lab.storage, lab.folder)) as client:
        try:
            report = client.wait_sweep(sweep, _END_SECONDS)
        except TimeoutError as error:
            return Look(red=[f"bad steps: {error}"])
        failures = [f"{cause.count} x {cause.text}" for cause in report.failures]
    done = [path.read_text() for path in (lab.storage / "sweeps" / sweep / "runs").glob("*/misbehave/outputs/done")]
    wanted = {kind: copies if kind in ENDS_WELL else 0 for kind in KINDS}
    red = [
        f"bad steps: {done.count(kind)} of {kind} were published, not {count}"
        for kind, count in wanted.items()
        if done.count(kind) != count
    ]
    if not any(_MEMORY_CAUSE in failure for failure in failures):
        red.append("bad steps: none is said to have gone over its memory limit")
    return Look(red=red, notes=[f"bad steps: {'; '.join(failures)}"])


def _memory(lab: Lab, before: dict[str, int]) -> Look:
    time.sleep(1.0)
    look = Look()
    for name, machine in lab.machines.items():
        growth = machine.memory_bytes() - before[name]
        look.notes.append(f"the worker of {name} grew by {growth / (1 << 20):.0f} MiB")
        if growth > _MAX_GROWTH_BYTES:
            look.red.append(look.notes[-1])
        if machine.exits():
            look.red.append(f"the worker of {name} ended")
    return look
