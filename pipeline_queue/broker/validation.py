"""Checks that an entry of a queue's list has the form of our messages, before kombu and Celery read it.

kombu and Celery trust what is in a list. One malformed entry crashes a worker, returns to the list as the worker dies,
and crashes the next one. Other entries run Celery's own tasks or wait for a forged time. The entries that pass this
check therefore have the same types as our own messages everywhere.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from pipeline_queue.broker.message import MAX_ID_CHARACTERS, TASK_NAME

_TEXT_HEADERS = ("root_id", "parent_id", "shadow", "argsrepr", "kwargsrepr", "origin", "lang")
_EMPTY_HEADERS = (
    "eta", "expires", "retries", "group", "group_index", "stamps", "stamped_headers", "compression",
    "replaced_task_nesting",
)  # fmt: skip
_TEXT_PROPERTIES = ("correlation_id", "reply_to")


class _FaultError(Exception):
    pass


def fault_of(queue: str, entry: bytes) -> str:
    """What is wrong with an entry of `queue`, or '' if it is valid. Never executes or unpickles anything."""
    try:
        message = _mapping(_parsed(entry, "the message"), "the message")
        _check_properties(_mapping(message.get("properties"), "its properties"), queue)
        _check_headers(_mapping(message.get("headers"), "its headers"))
        _check_body(_body(message))
    except _FaultError as fault:
        return str(fault)
    return ""


def _parsed(text: bytes, what: str) -> Any:
    try:
        return json.loads(text.decode(), object_hook=_plain)
    except UnicodeDecodeError:
        raise _FaultError(f"{what} is not UTF-8") from None
    except RecursionError:
        raise _FaultError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise _FaultError(f"{what} is not JSON: {str(error)[:100]}") from None


def _plain(mapping: dict[str, Any]) -> dict[str, Any]:
    """Reject a mapping that kombu would convert to a value of another type."""
    if mapping.keys() == {"__type__", "__value__"}:
        raise ValueError("it contains a value of one of kombu's own types")
    return mapping


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _FaultError(f"not a mapping but {type(value).__name__}: {what}")
    return value


def _check_properties(properties: dict[str, Any], queue: str) -> None:
    _require(_is_text(properties.get("delivery_tag")), "it has no delivery tag")
    delivery = _mapping(properties.get("delivery_info"), "its delivery information")
    _require(isinstance(delivery.get("exchange"), str), "its delivery information names no exchange")
    # A signature is valid for one queue, and a message returns to this queue when its worker dies.
    _require(delivery.get("routing_key") == queue, f"it was written for another queue than {queue}")
    _require(properties.get("body_encoding") == "base64", "its body is not in base64")
    for name in _TEXT_PROPERTIES:
        _require(isinstance(properties.get(name), str | None), f"its property {name} is not a text")
    _require(isinstance(properties.get("priority"), int | None), "its priority is not a number")


def _check_headers(headers: dict[str, Any]) -> None:
    task = headers.get("task")
    _require(
        task == TASK_NAME, f"its task is not {TASK_NAME} but {str(task)[:60] if isinstance(task, str) else 'none'}"
    )
    _require(_is_text(headers.get("id")), "it has no id")
    for name in _TEXT_HEADERS:
        _require(isinstance(headers.get(name), str | None), f"its header {name} is not a text")
    for name in _EMPTY_HEADERS:
        _require(not headers.get(name), f"its header {name} is set")
    _require(headers.get("timelimit") in (None, [None, None]), "its header timelimit is set")


def _body(message: dict[str, Any]) -> Any:
    form = (message.get("content-type"), message.get("content-encoding"))
    _require(form == ("application/json", "utf-8"), f"its content is not JSON in UTF-8 but {str(form)[:100]}")
    body = message.get("body")
    if not isinstance(body, str):
        raise _FaultError("its body is not a text")
    try:
        decoded = base64.b64decode(body, validate=True)
    except ValueError:
        raise _FaultError("its body is not base64") from None
    return _parsed(decoded, "its body")


def _check_body(body: Any) -> None:
    if not isinstance(body, list) or len(body) != 3:
        raise _FaultError("its body is not arguments, parameters and chain")
    arguments, parameters, embedded = body
    _require(isinstance(arguments, list) and len(arguments) == 1, "it does not have exactly one positional argument")
    _mapping(parameters, "its keyword arguments")
    embedded = _mapping(embedded, "what comes after it")
    for name in ("callbacks", "errbacks", "chord"):
        _require(not embedded.get(name), f"it has {name}")
    chain = embedded.get("chain")
    _require(isinstance(chain, list | None), "its chain is not a list")
    for link in chain or ():
        _check_link(_mapping(link, "a link of its chain"))


def _check_link(link: dict[str, Any]) -> None:
    """Check only what Celery reads to send the link: it then becomes a message and is checked itself."""
    _require(link.get("task") == TASK_NAME and not link.get("subtask_type"), "a link of its chain is another task")
    _require(isinstance(link.get("args"), list | None), "the arguments of a link of its chain are not a list")
    _mapping(link.get("kwargs"), "the parameters of a link of its chain")
    options = _mapping(link.get("options"), "the options of a link of its chain")
    _require(
        all(isinstance(value, str | bool | None) for value in options.values()),
        "a link of its chain has an option of the wrong type",
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise _FaultError(otherwise)
