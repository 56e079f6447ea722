"""How a Celery task lies in a list of Redis: what kombu and Celery would write for a chain, made by hand.

The only place that knows it. A message of ours is then one string, which a script of the index can put on a queue in
the same atomic step as it writes down why. `tests/integration/test_celery_message.py` holds it against what Celery
writes itself. Celery's message protocol 2, kombu's virtual transport with the default exchange and body encoding.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_queue.broker.step_message import SIGNATURE, TASK_NAME, StepMessage, decode
from pipeline_queue.contract.errors import MessageError
from pipeline_queue.contract.ids import RunId

PRIORITIES = (0, 3, 6, 9)
"""kombu's steps: each has a list of its own, read in this order."""

_SEPARATOR = "\x06\x16"
_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Task:
    """One step as a Celery task; `arguments` and `parameters` are what Flower shows and searches.

    `signature` is None where messages are not signed.
    """

    message: StepMessage
    queue: str
    shadow: str
    arguments: str
    parameters: str
    signature: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def envelope(self) -> dict[str, Any]:
        signed = {} if self.signature is None else {SIGNATURE: self.signature}
        return {**self.message.envelope(), **signed}


@dataclass(frozen=True, slots=True)
class ParentTask:
    """The task after which another follows."""

    id: str
    root_id: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message ready to be put on its list."""

    list: str
    payload: str
    message: StepMessage


def list_of(queue: str, priority: int) -> str:
    """The Redis list that holds a queue's messages of one priority."""
    return queue if priority == 0 else f"{queue}{_SEPARATOR}{priority}"


def lists_of(queue: str) -> list[str]:
    """All Redis lists of a queue."""
    return [list_of(queue, priority) for priority in PRIORITIES]


def encode(chain: Sequence[Task], priority: int, caller: ParentTask | None = None) -> Message:
    """The message of the first task; the others travel in it, the last one first, as in Celery's own chains.

    `priority` is one of PRIORITIES and the first task's alone.
    """
    first, *rest = chain
    embedded = {"callbacks": None, "errbacks": None, "chain": [_signature(task) for task in reversed(rest)] or None}
    body = [[first.envelope()], first.message.parameters, {**embedded, "chord": None}]
    payload = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": _headers(first, caller),
        "properties": _properties(first, priority),
    }
    return Message(list_of(first.queue, priority), json.dumps(payload), first.message)


def run_of(payload: str) -> RunId | None:
    """The run that a message on a list is for, None for one that is not ours."""
    try:
        (envelope, *_), parameters, _ = json.loads(base64.b64decode(json.loads(payload)["body"]))
        return decode(envelope, parameters).run
    except (ValueError, TypeError, KeyError, MessageError):
        return None


def _headers(task: Task, caller: ParentTask | None) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": TASK_NAME,
        "id": task.id,
        "shadow": task.shadow,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": caller.root_id if caller else task.id,
        "parent_id": caller.id if caller else None,
        "argsrepr": task.arguments,
        "kwargsrepr": task.parameters,
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }


def _properties(task: Task, priority: int) -> dict[str, Any]:
    return {
        "correlation_id": task.id,
        "reply_to": "",
        "delivery_mode": _PERSISTENT,
        "delivery_info": {"exchange": "", "routing_key": task.queue},
        "priority": priority,
        "body_encoding": "base64",
        "delivery_tag": task.id,
    }


def _signature(task: Task) -> dict[str, Any]:
    return {
        "task": TASK_NAME,
        "args": [task.envelope()],
        "kwargs": task.message.parameters,
        "options": {
            "task_id": task.id,
            "queue": task.queue,
            "shadow": task.shadow,
            "ignore_result": True,
            "argsrepr": task.arguments,
            "kwargsrepr": task.parameters,
        },
        "subtask_type": None,
        "immutable": True,
    }
