"""The one Celery task: decodes the message, attempts the step, translates the outcome for Celery."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from pipeline_queue.broker.message import TASK_NAME, Message, decode_task
from pipeline_queue.contract.errors import (
    BrokerError,
    InputError,
    MessageError,
    StepFailedError,
    StorageAwayError,
    StorageError,
)
from pipeline_queue.storage.access import is_denied
from pipeline_queue.storage.disk import is_passing
from workers.attempt import attempt_step
from workers.context import WorkerContext
from workers.outcome import Outcome
from workers.recording import record_denied

logger = logging.getLogger(__name__)

_BROKER_SECONDS = 30.0
_PAUSE_SECONDS = 1.0
_ENQUEUE_SECONDS = 5.0


class StepTask(Task):  # type: ignore[misc]
    """Celery's own `__call__` names its first argument `self`, which a parameter may be called as well."""

    def __call__(self, /, *arguments: Any, **parameters: Any) -> Any:
        return self.run(*arguments, **parameters)


def register(app: Celery) -> None:
    """Adds the task to the application; in a worker, `app.worker_context` is what its attempts share."""

    # Positional-only, so that parameters may be called `self` and `envelope`.
    def step(self: Task, envelope: object, /, **parameters: Any) -> str:
        worker: WorkerContext = self.app.worker_context
        if not worker.admission.is_open():
            # It was asked for before: back to where another worker finds it.
            raise Reject("this worker takes no steps now", requeue=True)
        worker.wake_reconciler()
        try:
            outcome = _attempted(worker, _received(self, envelope, parameters))
        except (MessageError, InputError) as error:
            worker.refuse(json.dumps([envelope, parameters]).encode(), str(error), _queue(self))
            raise
        except (BrokerError, StorageError) as error:
            # Not the step's failure: the run is enqueued again.
            logger.error("gave up task=%s: %s", self.request.id, error)
            raise
        # The next link was sent with the record of this step: Celery is not to send it again.
        self.request.chain = None
        return _translated(self, outcome)

    app.task(name=TASK_NAME, base=StepTask, bind=True, typing=False, shared=False)(step)


def _received(task: Task, envelope: object, parameters: dict[str, Any]) -> Message:
    """Raises MessageError for a message that is not ours, or, with a signing key, not signed by it."""
    request, queue = task.request, _queue(task)
    message = decode_task(envelope, parameters, request.chain, request.get, queue)
    if task.app.signing_key:
        task.app.signing_key.check(envelope, message.first.message, queue)
    return message


def _queue(task: Task) -> str:
    """The queue that the message lay in: screening.py has compared the two."""
    return str((task.request.delivery_info or {}).get("routing_key", ""))


def _attempted(worker: WorkerContext, message: Message) -> Outcome:
    """Attempts the step; without a broker again and again for a while, for this message would be the only one."""
    give_up_at = time.monotonic() + _BROKER_SECONDS
    while True:
        try:
            return attempt_step(worker, message)
        except StorageAwayError as error:
            worker.run_index.enqueue_later(message.run, message.step, _ENQUEUE_SECONDS)
            logger.warning("waits for the storage run=%s step=%s: %s", message.run, message.step, error)
            return Outcome("retry", str(error))
        except StorageError as error:
            # What this user may not do, and what alone fails again and again.
            if is_denied(error.__cause__) or is_passing(error.__cause__):
                return record_denied(worker, message, str(error))
            worker.run_index.enqueue_later(message.run, message.step, _ENQUEUE_SECONDS)
            raise
        except BrokerError as error:
            if time.monotonic() > give_up_at or worker.executor.is_closing():
                raise
            logger.warning("waiting for the broker run=%s step=%s: %s", message.run, message.step, error)
            time.sleep(_PAUSE_SECONDS)


def _translated(task: Task, outcome: Outcome) -> str:
    match outcome.kind:
        case "go_on":
            return outcome.text
        case "failed":
            raise StepFailedError(outcome.text)
        case "retry":
            # Only the state that Flower shows: the retry itself waits in the index, not in Celery.
            raise Retry(message=outcome.text, exc=StepFailedError(outcome.text))
        case "cancelled":
            _send_event(task, "task-revoked", terminated=True, signum=None, expired=False)
        case "waiting" | "paused" | "dropped":
            # States of ours, which Celery's event protocol allows: such a task has neither failed nor is it under way.
            # The run goes on with another message, under an id of its own.
            if not task.request.delivery_info.get("redelivered"):  # else the task itself may be under way
                _send_event(task, f"task-{outcome.kind}", result=outcome.text)
    raise Ignore


def _send_event(task: Task, kind: str, **fields: Any) -> None:
    request = task.request
    try:
        with task.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(kind, uuid=request.id, **fields)
    except (OSError, OperationalError, RedisError) as error:
        logger.warning("not sent event=%s task=%s: %s", kind, request.id, error)
