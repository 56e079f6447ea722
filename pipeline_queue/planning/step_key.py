"""Which steps several runs may share, and the identity by which they do: pure.

A step's identity is a digest of its command and environment with the canonical texts of the values, its declared
outputs, the content of its sources (the whole snapshot if it declares none), the repetition, the targets of the
pipeline's links and the identities of the steps that it needs: whatever could make its outputs differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline_queue.contract.ids import RunId
from pipeline_queue.model.parameters import text_of
from pipeline_queue.model.pipeline import Pipeline, Step
from pipeline_queue.planning.planner import plan_step, step_named
from pipeline_queue.space import Space

_DIGEST_BYTES = 12


@dataclass(frozen=True, slots=True)
class StepKey:
    """Of one step of one run, with its components; `before` is the digest of the step that it needs, or ''."""

    digest: str
    before: str
    command: tuple[str, ...]
    environment: dict[str, str]
    outputs: tuple[str, ...]
    source: str
    repetition: int
    links: Mapping[str, str]


def shareable_steps(pipeline: Pipeline, space: Space) -> frozenset[str]:
    """The steps that several runs may have in common, of this sweep or, if they say so, of any."""
    return frozenset(step.name for step in pipeline.steps if own_because(pipeline, space, step.name) is None)


def own_because(pipeline: Pipeline, space: Space, name: str) -> str | None:
    """Why a step is each run's own, None when several may share it.

    Shared is what, with all before it, leaves out a parameter that varies and does not ask for the run itself; with
    `reuse: always` also what differs from run to run.
    """
    for step in _up_to(pipeline, name):
        if step.reuse == "never":
            return f"step {step.name} says `reuse: never`"
        if None in _references(step):
            return f"step {step.name} uses the run's own id or index"
    if step_named(pipeline, name).reuse == "always":
        return None
    if len(space) == 1:
        return "this sweep has only one run, and `reuse: always` is not set"
    if set(space.varied) <= _parameters_up_to(pipeline, name):
        return f"step {name} and the steps before it use every parameter that varies"
    return None


def step_keys(
    pipeline: Pipeline, run: RunId, space: Space, snapshot: str, sources: Mapping[str, str]
) -> Iterator[tuple[str, StepKey]]:
    """Every step of a run with its identity, in order; `sources`: digests of those steps that do not see all."""
    point, digests = space[run.index], dict[str, str]()
    for step in pipeline.steps:
        before = "".join(digests[name] for name in pipeline.needs(step.name))
        plan = plan_step(step, run, point, text_of_value=text_of)
        source, repetition = sources.get(step.name, snapshot), space.repeat_of(run.index)
        content = [1, before, plan.argv, plan.env, step.python, step.outputs, source, repetition]
        if pipeline.links:
            content.append(dict(pipeline.links))
        text = json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
        yield step.name, StepKey(digest, before, plan.argv, plan.env, step.outputs, source, repetition, pipeline.links)
        digests[step.name] = digest


def distinct_executions(pipeline: Pipeline, space: Space, most: int) -> tuple[int, int] | None:
    """How many steps a sweep will execute, and how many it would without sharing; None for more than `most` runs."""
    total = len(space)
    if total > most:
        return None
    return sum(executions_of_steps(pipeline, space).values()), total * len(pipeline.steps)


def executions_of_steps(pipeline: Pipeline, space: Space) -> dict[str, int]:
    """Step -> how often a sweep will execute it. Looks at every run of the space for each step that may be shared."""
    total = len(space)
    shared = shareable_steps(pipeline, space)
    executions: dict[str, int] = {}
    for step in pipeline.steps:
        if step.name not in shared:
            executions[step.name] = total
            continue
        names = sorted(_parameters_up_to(pipeline, step.name))
        points = ((space[index], space.repeat_of(index)) for index in range(total))
        executions[step.name] = len({(*(point[name] for name in names), repeat) for point, repeat in points})
    return executions


def _up_to(pipeline: Pipeline, name: str) -> list[Step]:
    """The step and those before it, in order."""
    return [step_named(pipeline, one) for one in (*pipeline.before(name), name)]


def _parameters_up_to(pipeline: Pipeline, name: str) -> set[str]:
    """What the step and those before it are given."""
    return {one for step in _up_to(pipeline, name) for one in _references(step) if one is not None}


def _references(step: Step) -> set[str | None]:
    """The parameters that a step is given; None stands for its run's id or index."""
    return {*step.parameters(), *(None for one in step.references() if one.scope == "run")}
