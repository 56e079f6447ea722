"""StepMessages -> a Celery chain, by the name of the task; sending it is to *ring* the run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from celery import Celery, Signature

from pipeline_queue.contract.broker import broker_errors
from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.contract.messages import SIGNATURE, TASK_NAME, Scalar, StepMessage
from pipeline_queue.pipeline import Pipeline
from pipeline_queue.planner import step_named

_SHOWN_CHARACTERS = 100

BEGUN_PRIORITY = 0
START_PRIORITY = {"high": 3, "normal": 6, "low": 9}
"""Of first steps, by the sweep's priority: kombu keeps a Redis list for each and reads them in this order."""


def ring(app: Celery, pipeline: Pipeline, messages: Sequence[StepMessage]) -> None:
    """Puts a run's chain on the queue, from the first of `messages` on. Always safe to do again.

    It goes before the runs that were never started: this one may hold published steps. Raises BrokerError.
    """
    ring_all(app, pipeline, [messages], BEGUN_PRIORITY)


def ring_all(app: Celery, pipeline: Pipeline, chains: Iterable[Sequence[StepMessage]], priority: int) -> None:
    """Puts a chain for each run on the queue, in one batch; a lower `priority` is served first. Raises BrokerError.

    The rest of a chain travels in the message's `chain` header, last step first, as Celery's own chains do, and gets
    the first priority: steps of runs that have begun go before first steps. `apply_async` on the first signature with a
    producer's batch is four times as fast as on a `chain`, which drops `producer`.
    """
    from kombu.exceptions import BatchPublishError, OperationalError
    from redis.exceptions import RedisError

    with broker_errors(app.conf.broker_url):
        try:
            with app.producer_or_acquire() as producer, producer.batch():
                for messages in chains:
                    first, *rest = [_signature(app, pipeline, message) for message in messages]
                    following = [dict(signature) for signature in reversed(rest)]
                    first.apply_async(chain=following, producer=producer, priority=priority, retry=False)
        except BatchPublishError as error:
            if isinstance(error.__cause__, RedisError):
                raise error.__cause__ from None
            raise BrokerError(f"the broker took no message: {error}") from error
        except OperationalError as error:
            raise BrokerError(f"the broker took no message: {error}") from error


def _signature(app: Celery, pipeline: Pipeline, message: StepMessage) -> Signature:
    step = step_named(pipeline, message.step)
    envelope = message.envelope()
    if app.signing_key:
        envelope[SIGNATURE] = app.signing_key.sign(message, step.queue)
    return app.signature(
        TASK_NAME,
        args=(envelope,),
        kwargs=message.parameters,
        immutable=True,
        task_id=str(uuid.uuid4()),
        queue=step.queue,
        shadow=f"{pipeline.name}.{step.name}",
        ignore_result=True,
        argsrepr=repr((str(message.run),)),
        kwargsrepr=_shown(message.parameters),
    )


def _shown(parameters: dict[str, Scalar]) -> str:
    """What Flower shows and searches: every parameter, long texts shortened so that none hides the others."""
    return repr(
        {
            name: value if not isinstance(value, str) or len(value) <= _SHOWN_CHARACTERS
            else f"{value[:_SHOWN_CHARACTERS]}…"
            for name, value in parameters.items()
        }
    )  # fmt: skip
