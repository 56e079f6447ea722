"""Encodes and decodes what crosses the broker: a message for one step of a run, which carries the steps that follow.

This is the only module that builds by hand the Celery task that kombu and Celery would write for a chain. A message is
therefore one string, which a script of the index can enqueue in the same atomic step in which it records the reason.
`tests/integration/test_celery_message.py` compares it with what Celery itself writes: Celery's message protocol 2,
kombu's virtual transport with the default exchange and body encoding.

A task carries its envelope as its one positional argument and the run's parameters as flat keyword arguments, so that
Flower's own search finds `kwargs:learning_rate=0.01`.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_queue.contract.errors import MessageError, NotFoundError
from pipeline_queue.contract.ids import RunId

TASK_NAME = "pipeline_queue.step"
VERSION = 1
SIGNATURE = "sig"
"""The field of a signed envelope that holds its signature (signing.py)."""
PRIORITIES = (0, 3, 6, 9)
"""kombu's priority steps: each has its own list, and kombu reads them in this order."""
MAX_ID_CHARACTERS = 200

Scalar = bool | int | float | str

_SEPARATOR = "\x06\x16"
_PERSISTENT = 2
_SHOWN = ("shadow", "argsrepr", "kwargsrepr")


@dataclass(frozen=True, slots=True)
class StepMessage:
    """One step of one run, with the run's parameters."""

    run: RunId
    step: str
    parameters: dict[str, Scalar]

    def envelope(self) -> dict[str, Any]:
        """`{"v": 1, "run": "<sweep>.<index>", "step": "<name>"}`"""
        return {"v": VERSION, "run": str(self.run), "step": self.step}

    def differing(self, accepted: Mapping[str, Scalar]) -> list[str]:
        """The names of the parameters that differ from the accepted ones in presence, type or value."""
        given = self.parameters
        return [
            name
            for name in sorted(given.keys() | accepted.keys())
            if name not in given
            or name not in accepted
            or type(given[name]) is not type(accepted[name])
            or given[name] != accepted[name]
        ]


@dataclass(frozen=True, slots=True)
class Link:
    """One step as a Celery task; `arguments` and `parameters` are what Flower shows and searches.

    `signature` is None where messages are not signed. It covers this link alone, so a link can be passed on by itself.
    """

    message: StepMessage
    queue: str
    shadow: str = ""
    arguments: str = ""
    parameters: str = ""
    signature: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def envelope(self) -> dict[str, Any]:
        signed = {} if self.signature is None else {SIGNATURE: self.signature}
        return {**self.message.envelope(), **signed}


@dataclass(frozen=True, slots=True)
class ParentTask:
    """The task that precedes another in a chain."""

    id: str
    root_id: str


@dataclass(frozen=True, slots=True)
class Message:
    """A run's chain: the worker executes the first link now; the message carries the other links.

    `priority` is one of PRIORITIES. It and `parent` apply to the first link only.
    """

    links: tuple[Link, ...]
    priority: int = 0
    parent: ParentTask | None = None

    @property
    def first(self) -> Link:
        return self.links[0]

    @property
    def run(self) -> RunId:
        return self.first.message.run

    @property
    def step(self) -> str:
        return self.first.message.step

    @property
    def parameters(self) -> dict[str, Scalar]:
        return self.first.message.parameters

    @property
    def list(self) -> str:
        """The Redis list that it belongs on."""
        return list_of(self.first.queue, self.priority)

    def as_parent(self) -> ParentTask:
        """This task as the parent that the next task names."""
        return ParentTask(self.first.id, self.parent.root_id if self.parent else self.first.id)

    def encode(self) -> str:
        """The entry for the list. It contains the later links in reverse order, as Celery's own chains do."""
        first, *later = self.links
        embedded = {
            "callbacks": None,
            "errbacks": None,
            "chain": [_signature(link) for link in reversed(later)] or None,
        }
        body = [[first.envelope()], first.message.parameters, {**embedded, "chord": None}]
        return json.dumps(
            {
                "body": base64.b64encode(json.dumps(body).encode()).decode(),
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": _headers(first, self.parent),
                "properties": _properties(first, self.priority),
            }
        )


def list_of(queue: str, priority: int) -> str:
    """The Redis list that holds a queue's messages of one priority."""
    return queue if priority == 0 else f"{queue}{_SEPARATOR}{priority}"


def lists_of(queue: str) -> list[str]:
    """All Redis lists of a queue."""
    return [list_of(queue, priority) for priority in PRIORITIES]


def decode(payload: str | bytes) -> Message:
    """Decode an entry of a list. Raises MessageError for an entry that this project did not write."""
    try:
        entry = json.loads(payload)
        (envelope, *_), parameters, embedded = json.loads(base64.b64decode(entry["body"]))
        properties = entry["properties"]
        queue, priority = properties["delivery_info"]["routing_key"], properties.get("priority")
        return decode_task(envelope, parameters, embedded.get("chain"), entry["headers"].get, queue, priority)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MessageError(f"not a pipeline-queue message: {type(error).__name__}") from None


def decode_task(
    envelope: object,
    parameters: dict[str, Any],
    chain: object,
    header: Callable[[str], Any],
    queue: str,
    priority: int | None = None,
) -> Message:
    """Decode what Celery passes to a task: its arguments, the chain that came with it, and its headers by name.

    Raises MessageError for anything this version did not write. Omits the chain if a link of it is unreadable.
    """
    message = decode_step(envelope, parameters)
    shadow, arguments, shown = (_text(header(name)) for name in _SHOWN)
    first = Link(message, queue, shadow, arguments, shown, _signature_in(envelope), _text(header("id")))
    parent = ParentTask(_text(header("parent_id")), _text(header("root_id")) or first.id)
    is_root = parent == ParentTask("", first.id)
    return Message((first, *_later(chain)), priority or 0, None if is_root else parent)


def decode_step(envelope: object, parameters: dict[str, Any]) -> StepMessage:
    """The step that an envelope names. Raises MessageError for anything this version did not write."""
    if not isinstance(envelope, dict):
        raise MessageError(f"the envelope is not a mapping but {type(envelope).__name__}")
    version = envelope.get("v")
    if type(version) is not int or version != VERSION:
        shown = str(version)[:20] if isinstance(version, str | int | float) else type(version).__name__
        raise MessageError(f"version {shown} of the envelope is not {VERSION}")
    run, step = envelope.get("run"), envelope.get("step")
    if not isinstance(run, str) or not isinstance(step, str):
        raise MessageError("the envelope names no run and step")
    for name, value in parameters.items():
        if not isinstance(value, Scalar):
            raise MessageError(f"parameter '{name[:64]}' is not a single value but {type(value).__name__}")
    try:
        return StepMessage(RunId.parse(run), step, parameters)
    except NotFoundError as error:
        raise MessageError(str(error)) from None


def run_of(payload: str) -> RunId | None:
    """The run that a message on a list is for; None if this project did not write the message."""
    try:
        return decode(payload).run
    except MessageError:
        return None


def _later(chain: object) -> tuple[Link, ...]:
    try:
        return tuple(_link(one) for one in reversed(chain or ()))  # type: ignore[call-overload]
    except (MessageError, ValueError, TypeError, KeyError, AttributeError):
        return ()


def _link(signature: dict[str, Any]) -> Link:
    """Decode a link that `_signature` wrote. Other shapes raise MessageError or one of Python's own exceptions."""
    (envelope,), parameters, options = signature["args"], signature["kwargs"], signature["options"]
    texts = [options[name] for name in (*_SHOWN, "queue", "task_id")]
    if signature["task"] != TASK_NAME or not all(isinstance(one, str) for one in texts):
        raise MessageError("a link of its chain is not a pipeline-queue task")
    shadow, arguments, shown, queue, id = texts
    if not 0 < len(id) <= MAX_ID_CHARACTERS:
        raise MessageError("a link of its chain has no id")
    return Link(decode_step(envelope, parameters), queue, shadow, arguments, shown, _signature_in(envelope), id)


def _signature_in(envelope: Any) -> str | None:
    found = envelope.get(SIGNATURE)
    return found if isinstance(found, str) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _headers(link: Link, parent: ParentTask | None) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": TASK_NAME,
        "id": link.id,
        "shadow": link.shadow,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": parent.root_id if parent else link.id,
        "parent_id": parent.id if parent else None,
        "argsrepr": link.arguments,
        "kwargsrepr": link.parameters,
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }


def _properties(link: Link, priority: int) -> dict[str, Any]:
    return {
        "correlation_id": link.id,
        "reply_to": "",
        "delivery_mode": _PERSISTENT,
        "delivery_info": {"exchange": "", "routing_key": link.queue},
        "priority": priority,
        "body_encoding": "base64",
        "delivery_tag": link.id,
    }


def _signature(link: Link) -> dict[str, Any]:
    """Celery's signature of the task, as a chain holds it."""
    return {
        "task": TASK_NAME,
        "args": [link.envelope()],
        "kwargs": link.message.parameters,
        "options": {
            "task_id": link.id,
            "queue": link.queue,
            "shadow": link.shadow,
            "ignore_result": True,
            "argsrepr": link.arguments,
            "kwargsrepr": link.parameters,
        },
        "subtask_type": None,
        "immutable": True,
    }
