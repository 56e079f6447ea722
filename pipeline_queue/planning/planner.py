"""Run -> what each of its steps is to execute: pure, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from pipeline_queue.broker.message import StepMessage
from pipeline_queue.contract.errors import InputError, Place, Problem, ValuesError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.wording import counted
from pipeline_queue.model.expressions import render, render_words
from pipeline_queue.model.optional_words import chosen_words
from pipeline_queue.model.parameters import MAX_ELEMENT_BYTES, argument_of
from pipeline_queue.model.pipeline import OptionalWords, Pipeline, Step, Template, Value
from pipeline_queue.space import Point
from pipeline_queue.storage.layout import RUN_END

MAX_COMMAND_BYTES = 1_500_000
"""All of argv and the declared env; Linux takes about 2 MiB with what the worker's environment adds."""

MAX_WORDS = 20_000
"""Of one command, which lists may make of few references: each word costs the system more than its bytes."""

_FIRST_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of one run with every value put in; `argv` is what the process will receive."""

    step: Step
    argv: tuple[str, ...]
    env: dict[str, str]


def messages(pipeline: Pipeline, run: RunId, point: Point) -> tuple[StepMessage, ...]:
    """One message for each step, in order."""
    return messages_for((step.name for step in pipeline.steps), run, point)


def messages_for(steps: Iterable[str], run: RunId, point: Point) -> tuple[StepMessage, ...]:
    """One message for each of these steps of a run, in order."""
    return tuple(StepMessage(run, step, point) for step in steps)


def remaining(pipeline: Pipeline, run: RunId, point: Point, names: Container[str]) -> tuple[StepMessage, ...]:
    """What a message of this run carries; `names` is what lies in the run's folder. Empty when the run has ended.

    When every step is published but the end was not written, the last step's message has that done.
    """
    if RUN_END in names:
        return ()
    return messages_for(pipeline.unpublished(names) or (pipeline.steps[-1].name,), run, point)


def plan_step(
    step: Step,
    run: RunId,
    point: Point,
    worker: Mapping[str, str] | None = None,
    text_of_value: Callable[[Value], str] = argument_of,
) -> StepPlan:
    """The step's command and environment for this run; each value is put in once and never parsed.

    `worker`: the variables of the worker that executes it; without, what refers to them stays as it is written.
    `text_of_value`: how a value is written.
    """

    def text(template: Template) -> str:
        return render(template, point, str(run), run.index, run.sweep, worker, text_of_value)

    def words(template: Template) -> tuple[str, ...]:
        spread = render_words(template, point, text_of_value)
        return (text(template),) if spread is None else spread

    return StepPlan(
        step=step,
        argv=tuple(
            rendered
            for word in step.argv
            for template in (chosen_words(word, point) if isinstance(word, OptionalWords) else (word,))
            for rendered in words(template)
        ),
        env={name: text(template) for name, template in step.env.items()},
    )


def check_sizes(pipeline: Pipeline, run: RunId, point: Point) -> None:
    """Raises ValuesError when a command of the run would be longer than the system can start."""
    problems = [problem for step in pipeline.steps for problem in _oversized(plan_step(step, run, point))]
    if problems:
        raise ValuesError(tuple(problems))


def retry_delay_seconds(failures: int) -> float:
    """How long to wait after this many failures: 1 s, doubled each time, at most 60 s."""
    return float(min(_FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10), _MAX_RETRY_SECONDS))


def step_named(pipeline: Pipeline, name: str) -> Step:
    """Raises InputError when the pipeline has no such step."""
    for step in pipeline.steps:
        if step.name == name:
            return step
    raise InputError(f"pipeline '{pipeline.name}' has no step '{name[:64]}'")


def _oversized(plan: StepPlan) -> list[Problem]:
    place = Place(f"step {plan.step.name}")
    sizes = [len(word.encode()) for word in plan.argv]
    env_sizes = [len(f"{name}={value}".encode()) for name, value in plan.env.items()]
    problems = [
        Problem(place, f"{what} would be {counted(size, 'byte')} long; the system takes at most {MAX_ELEMENT_BYTES:,}",
                "write the value to a file and pass its path")
        for what, size in [
            *((f"argument {number}", size) for number, size in enumerate(sizes)),
            *((f"environment variable {name}", size) for name, size in zip(plan.env, env_sizes, strict=True)),
        ]
        if size > MAX_ELEMENT_BYTES
    ]  # fmt: skip
    total = sum(sizes) + sum(env_sizes)
    if total > MAX_COMMAND_BYTES:
        problems.append(
            Problem(
                place, f"the whole command would be {counted(total, 'byte')} long; at most {MAX_COMMAND_BYTES:,} fit"
            )
        )
    if len(plan.argv) > MAX_WORDS:
        message = f"the command would have {len(plan.argv):,} words; at most {MAX_WORDS:,} are possible"
        problems.append(Problem(place, message, "write long lists to a file and pass its path"))
    return problems
