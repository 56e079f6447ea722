"""Which steps of a sweep may be shared by its runs, and the identity by which they are: pure.

A step's identity is a digest of its rendered command and environment, its declared outputs, the snapshot, the
repetition and the identity of the step before it: whatever could make its outputs differ.
"""

from __future__ import annotations

import hashlib
import json

from pipeline_queue.contract.identity import RunId
from pipeline_queue.pipeline import Pipeline, Reference, Step
from pipeline_queue.planner import plan_step
from pipeline_queue.space import Space

_DIGEST_BYTES = 12


def shareable_steps(pipeline: Pipeline, space: Space) -> frozenset[str]:
    """The steps that several runs may have in common.

    With all before them they leave out a parameter that varies, and they do not ask for the run itself.
    """
    varied = set(space.varied)
    known: set[str] = set()
    steps: set[str] = set()
    for step in pipeline.steps:
        names = _references(step)
        if None in names or step.reuse == "never":
            break  # what depends on this step depends on the run
        known |= {name for name in names if name is not None}
        if len(space) > 1 and not varied <= known:
            steps.add(step.name)
    return frozenset(steps)


def identity_of(pipeline: Pipeline, step: str, run: RunId, space: Space, snapshot: str) -> str:
    """The identity of one step of one run, in hexadecimal."""
    point, before = space[run.index], ""
    for one in pipeline.steps:
        plan = plan_step(one, run, point)
        content = [1, before, plan.argv, plan.env, one.python, one.outputs, snapshot, space.repeat_of(run.index)]
        text = json.dumps(content, sort_keys=True)
        before = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
        if one.name == step:
            return before
    raise ValueError(f"no step {step}")


def distinct_executions(pipeline: Pipeline, space: Space, most: int) -> tuple[int, int] | None:
    """How many steps a sweep will execute, and how many it would without sharing; None for more than `most` runs."""
    total = len(space)
    if total > most:
        return None
    shared = shareable_steps(pipeline, space)
    executed, known = 0, set[str]()
    for step in pipeline.steps:
        known |= {name for name in _references(step) if name is not None}
        if step.name not in shared:
            executed += total
            continue
        names = sorted(known)
        points = ((space[index], space.repeat_of(index)) for index in range(total))
        executed += len({(*(point[name] for name in names), repeat) for point, repeat in points})
    return executed, total * len(pipeline.steps)


def _references(step: Step) -> set[str | None]:
    """The parameters that a step is given; None stands for its run's id or index."""
    templates = [*step.argv, *step.env.values()]
    parts = [part for template in templates for part in template if isinstance(part, Reference)]
    names: set[str | None] = {part.name for part in parts if part.scope == "parameters"}
    return names | ({None} if any(part.scope == "run" for part in parts) else set())
