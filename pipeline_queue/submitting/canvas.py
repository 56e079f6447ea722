"""Makes the messages of a run's steps; sends those of runs that start or restart."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Sequence

from pipeline_queue.broker.message import Link, Message, ParentTask, Scalar, StepMessage
from pipeline_queue.broker.signing import SigningKey
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.planner import messages_for, step_named
from pipeline_queue.space import Point

logger = logging.getLogger(__name__)

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
    parent: ParentTask | None = None,
    key: SigningKey | None = None,
) -> Message:
    """The message that has the first of these steps executed, and then the others.

    `parent` is the task that it follows, `key` what each step's envelope is signed with.
    """
    shown = _shown(messages[0].parameters)
    return Message(tuple(_link(pipeline, message, shown, key) for message in messages), priority, parent)


def following(
    pipeline: Pipeline, received: Message, point: Point, published: Container[str], key: SigningKey | None = None
) -> Message | None:
    """The message that follows one whose step is published, None when nothing is left of its run.

    It is the next link of the chain that was received, as it came. Steps that are `published` are passed over. A chain
    that does not fit the pipeline and the run's values (`point`), or is not signed with `key`, is made anew.
    """
    steps = [step for step in pipeline.after(received.step) if step not in published]
    if not steps:
        return None
    wanted = messages_for(steps, received.run, point)
    links = tuple(link for link in received.links[1:] if link.message.step not in published)
    misfit = _misfit(pipeline, links, wanted, key) or _id_used_twice((received.first, *links))
    if misfit:
        logger.warning("made the chain anew run=%s step=%s: %s", received.run, steps[0], misfit)
        return chain(pipeline, wanted, BEGUN_PRIORITY, received.as_parent(), key)
    return Message(links, BEGUN_PRIORITY, received.as_parent())


def _misfit(pipeline: Pipeline, links: Sequence[Link], wanted: Sequence[StepMessage], key: SigningKey | None) -> str:
    """Why these links cannot follow, '' when they can. The signatures of those after the first are looked at later."""
    if [link.message.step for link in links] != [message.step for message in wanted]:
        return "it does not hold the steps that follow"
    for link, message in zip(links, wanted, strict=True):
        if link.message.run != message.run or link.message.differing(message.parameters):
            return f"its step {message.step} is another run's, or of other values"
        if link.queue != step_named(pipeline, message.step).queue:
            return f"its step {message.step} is for another queue"
    if key and not key.has_signed(links[0].signature, wanted[0], links[0].queue):
        return f"its step {wanted[0].step} is not signed with this worker's key"
    return ""


def _id_used_twice(links: Sequence[Link]) -> str:
    """A worker that holds two messages of one id would take them for one."""
    return "two of its links have the same id" if len({link.id for link in links}) < len(links) else ""


def _link(pipeline: Pipeline, message: StepMessage, shown: str, key: SigningKey | None) -> Link:
    step = step_named(pipeline, message.step)
    signature = key.sign(message, step.queue) if key else None
    return Link(message, step.queue, f"{pipeline.name}.{step.name}", repr((str(message.run),)), shown, signature)


def _shown(parameters: dict[str, Scalar]) -> str:
    """What Flower shows and searches: every parameter, long texts shortened so that none hides the others."""
    return repr(
        {
            name: value if not isinstance(value, str) or len(value) <= _SHOWN_CHARACTERS
            else f"{value[:_SHOWN_CHARACTERS]}…"
            for name, value in parameters.items()
        }
    )  # fmt: skip
