"""How kombu's Redis transport keeps a queue: the names of its lists, and which run a message in one is for."""

from __future__ import annotations

import base64
import binascii
import json

from pipeline_queue.contract.errors import MessageError, NotFoundError
from pipeline_queue.contract.identity import RunId
from pipeline_queue.contract.messages import decode

_PRIORITY_STEPS = (0, 3, 6, 9)


def lists_of(queue: str) -> list[str]:
    """The Redis lists that hold a queue's messages, one for each priority; the first is read first."""
    return [queue if priority == 0 else f"{queue}\x06\x16{priority}" for priority in _PRIORITY_STEPS]


def run_of(message: str) -> RunId | None:
    """The run that a message is for, None for a message that is not one of ours."""
    try:
        (envelope, *_), parameters, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
        return decode(envelope, parameters).run
    except (ValueError, TypeError, KeyError, binascii.Error, MessageError, NotFoundError):
        return None
