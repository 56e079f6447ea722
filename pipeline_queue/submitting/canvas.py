"""StepMessages -> a Celery chain, by the name of the task; sending it enqueues the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline_queue.broker.celery_message import Message, ParentTask, Task, encode
from pipeline_queue.broker.signing import SigningKey
from pipeline_queue.broker.step_message import Scalar, StepMessage
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.planner import step_named

_SHOWN_CHARACTERS = 100

BEGUN_PRIORITY = 0
START_PRIORITY = {"high": 3, "normal": 6, "low": 9}
"""Of first steps, by the sweep's priority: there is a Redis list for each, and they are read in this order."""


def enqueue(run_index: RunIndex, pipeline: Pipeline, messages: Sequence[StepMessage]) -> None:
    """Puts a run's chain on the queue, from the first of `messages` on. Always safe to do again.

    It goes before the runs that were never started: this one may hold published steps. Raises BrokerError.
    """
    enqueue_begun(run_index, pipeline, [messages])


def enqueue_begun(run_index: RunIndex, pipeline: Pipeline, chains: Iterable[Sequence[StepMessage]]) -> None:
    """Enqueues runs that are under way. Raises BrokerError."""
    run_index.send([chain(pipeline, messages, BEGUN_PRIORITY, key=run_index.signing_key) for messages in chains])


def enqueue_new(
    run_index: RunIndex, pipeline: Pipeline, chains: Iterable[Sequence[StepMessage]], priority: int
) -> None:
    """Enqueues runs that are new in their sweep's window; a lower `priority` goes first. Raises BrokerError."""
    run_index.send([chain(pipeline, messages, priority, key=run_index.signing_key) for messages in chains])


def chain(
    pipeline: Pipeline,
    messages: Sequence[StepMessage],
    priority: int = BEGUN_PRIORITY,
    caller: ParentTask | None = None,
    key: SigningKey | None = None,
) -> Message:
    """The message that has the first of these steps executed, and then the others.

    `caller` is the task that it follows, `key` what each step's envelope is signed with.
    """
    shown = _shown(messages[0].parameters)
    return encode([_task(pipeline, message, shown, key) for message in messages], priority, caller)


def _task(pipeline: Pipeline, message: StepMessage, shown: str, key: SigningKey | None) -> Task:
    step = step_named(pipeline, message.step)
    signature = key.sign(message, step.queue) if key else None
    return Task(message, step.queue, f"{pipeline.name}.{step.name}", repr((str(message.run),)), shown, signature)


def _shown(parameters: dict[str, Scalar]) -> str:
    """What Flower shows and searches: every parameter, long texts shortened so that none hides the others."""
    return repr(
        {
            name: value if not isinstance(value, str) or len(value) <= _SHOWN_CHARACTERS
            else f"{value[:_SHOWN_CHARACTERS]}…"
            for name, value in parameters.items()
        }
    )  # fmt: skip
