"""The one Celery task: decodes the message, attempts the step, translates the outcome for Celery."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Retry

from pipeline_queue.contract.errors import InputError, MessageError, StepFailedError, UnreachableError
from pipeline_queue.contract.messages import TASK_NAME, decode
from workers.attempt import attempt
from workers.outcome import Outcome

logger = logging.getLogger(__name__)


def register(app: Celery) -> None:
    """Adds the task to the application; in a worker, `app.worker_context` is what its attempts share."""

    # Positional-only, so that parameters may be called `self` and `envelope`.
    def step(self: Task, envelope: object, /, **parameters: Any) -> str:
        try:
            outcome = attempt(self.app.worker_context, decode(envelope, parameters))
        except (MessageError, InputError) as error:
            logger.error("refused task=%s: %s", self.request.id, error)
            raise
        except UnreachableError as error:
            # Not the step's failure: the reconciler rings the run again once its lease has run out.
            logger.error("gave up task=%s: %s", self.request.id, error)
            raise
        return _translated(self, outcome)

    app.task(name=TASK_NAME, bind=True, typing=False)(step)


def _translated(task: Task, outcome: Outcome) -> str:
    match outcome.kind:
        case "go_on":
            return outcome.text
        case "failed":
            raise StepFailedError(outcome.text)
        case "retry":
            # Only the state that Flower shows: the retry itself waits in the ledger, not in Celery.
            raise Retry(message=outcome.text, exc=StepFailedError(outcome.text))
        case "cancelled":
            _send_event(task, "task-revoked", terminated=True, signum=None, expired=False)
    raise Ignore


def _send_event(task: Task, kind: str, **fields: Any) -> None:
    request = task.request
    with task.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
        dispatcher.send(kind, uuid=request.id, **fields)
