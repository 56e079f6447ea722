"""Raw entries of a queue's Redis list that nobody of ours wrote, each made from a good one by one change."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]
UNKNOWN_RUN = "train-00000000.0"

UNREADABLE = {
    "no JSON": b"garbage",
    "a number": b"42",
    "a mapping": b"{}",
    "no UTF-8": b"\xff\xfe",
    "two numbers": b"[1, 2]",
    "numbers": b"[1, 2, 3]",
    "an empty message": b'[{}, "", "default"]',
    "nested too deeply": b"[" * 200_000,
    "a type of kombu's": b'{"__type__": [], "__value__": 0}',
}
"""For where kombu keeps messages besides its queues."""


class _Witness:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]


def body_of(message: Message) -> Any:
    return json.loads(base64.b64decode(message["body"]))


def with_body(message: Message, body: Any, *path: Any) -> Message:
    """The message with another body, or with one place in its body set to `body`."""
    if path:
        whole = body_of(message)
        place = whole
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = body
        body = whole
    return {**message, "body": base64.b64encode(json.dumps(body).encode()).decode()}


def changed(message: Message, value: Any, *path: Any) -> Message:
    """A copy with one place set."""
    copied = copy.deepcopy(message)
    place: Any = copied
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copied


def without(message: Message, *path: Any) -> Message:
    copied = copy.deepcopy(message)
    place: Any = copied
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return copied


def raw_entries() -> dict[str, bytes]:
    """What somebody may push with `redis-cli`."""
    return {
        "no JSON": b"garbage",
        "no UTF-8": b"\xff\xfe\x00\x80",
        "empty": b"",
        "a number": b"42",
        "null": b"null",
        "a text": b'"hello"',
        "a list": b"[]",
        "an empty mapping": b"{}",
        "nested too deeply": b"[" * 200_000,
        "a mapping nested too deeply": b'{"a":' * 200_000,
        "a number of too many digits": b"1" * 10_000,
        "kombu's own types": b'{"__type__": "datetime", "__value__": "never"}',
        "an unknown type of kombu's": b'{"__type__": "os.system", "__value__": "true"}',
        "a list as kombu's type": b'{"__type__": [], "__value__": 0}',
        "5 MB of nothing": b"x" * 5_000_000,
        "a pickle": pickle.dumps({"task": "pipeline_queue.step"}),
    }


def changed_entries(good: Message, witness: Path) -> dict[str, bytes]:
    """`good` is a real message; `witness` a file that must never come to be."""
    encoded = json.dumps(good).encode()
    poison = base64.b64encode(pickle.dumps(_Witness(str(witness)))).decode()
    bomb = base64.b64encode(zlib.compress(b"x" * 50_000_000)).decode()
    entries: dict[str, bytes] = {f"cut at {part} %": encoded[: len(encoded) * part // 100] for part in (5, 50, 99)}
    messages: dict[str, Message] = {
        "no properties": without(good, "properties"),
        "properties that are a text": changed(good, "x", "properties"),
        "no delivery tag": without(good, "properties", "delivery_tag"),
        "a list as delivery tag": changed(good, [1], "properties", "delivery_tag"),
        "a mapping as delivery tag": changed(good, {"a": 1}, "properties", "delivery_tag"),
        "no delivery info": without(good, "properties", "delivery_info"),
        "empty delivery info": changed(good, {}, "properties", "delivery_info"),
        "a text as delivery info": changed(good, "x", "properties", "delivery_info"),
        "another queue's routing key": changed(good, "elsewhere", "properties", "delivery_info", "routing_key"),
        "unknown body encoding": changed(good, "rot13", "properties", "body_encoding"),
        "a body that is no base64": changed(good, "!!!", "body"),
        "a body that is a number": changed(good, 7, "body"),
        "no body": without(good, "body"),
        "pickle": changed(changed(good, "application/x-python-serialize", "content-type"), poison, "body"),
        "pickle that says it is JSON": changed(good, poison, "body"),
        "pickle without a content type": changed(changed(good, None, "content-type"), poison, "body"),
        "yaml": changed(good, "application/x-yaml", "content-type"),
        "an unknown content type": changed(good, "text/nothing", "content-type"),
        "a list as content type": changed(good, [], "content-type"),
        "an unknown content encoding": changed(good, "utf-9", "content-encoding"),
        "a number as content encoding": changed(good, 5, "content-encoding"),
        "compressed": changed(changed(good, "application/x-gzip", "headers", "compression"), bomb, "body"),
        "unknown compression": changed(good, "nothing", "headers", "compression"),
        "no headers": without(good, "headers"),
        "headers that are a text": changed(good, "abc", "headers"),
        "headers that are a list": changed(good, [1], "headers"),
        "an unknown task": changed(good, "os.system", "headers", "task"),
        "a task of Celery's own": changed(good, "celery.backend_cleanup", "headers", "task"),
        "Celery's chord task": changed(good, "celery.chord_unlock", "headers", "task"),
        "no task": without(good, "headers", "task"),
        "a list as task": changed(good, [], "headers", "task"),
        "null as task": changed(good, None, "headers", "task"),
        "no id": without(good, "headers", "id"),
        "a list as id": changed(good, [1], "headers", "id"),
        "an old protocol": with_body(without(good, "headers", "task"), {"task": "pipeline_queue.step", "id": "x", "args": [], "kwargs": {}}),
        "an old protocol, unknown task": with_body(without(good, "headers", "task"), {"task": "x"}),
        "both protocols": with_body(good, {"args": [{"v": 1}], "kwargs": {"x": 1}}),
        "an eta that is no time": changed(good, "never", "headers", "eta"),
        "an eta": changed(good, "2099-01-01T00:00:00", "headers", "eta"),
        "an eta that is a list": changed(good, [1], "headers", "eta"),
        "an expiry that is no time": changed(good, "never", "headers", "expires"),
        "an expiry that is a list": changed(good, [1], "headers", "expires"),
        "a time limit": changed(good, "x", "headers", "timelimit"),
        "retries that are no number": changed(good, "x", "headers", "retries"),
        "stamps": changed(changed(good, 5, "headers", "stamps"), 5, "headers", "stamped_headers"),
        "a group": changed(good, {"a": 1}, "headers", "group"),
        "a list as root": changed(good, [1], "headers", "root_id"),
        "a list as reply": changed(good, [1], "properties", "reply_to"),
        "a list as correlation": changed(good, [1], "properties", "correlation_id"),
        "a list as priority": changed(good, [1], "properties", "priority"),
        "a list as arguments": changed(good, [1], "headers", "argsrepr"),
        "a list as shadow": changed(good, [1], "headers", "shadow"),
        "a body that is a text": with_body(good, "x"),
        "a body that is null": with_body(good, None),
        "a body that is a mapping": with_body(good, {}),
        "a body of two": with_body(good, [[], {}]),
        "a body of nulls": with_body(good, [None, None, None]),
        "a body of numbers": with_body(good, [1, 2, 3]),
        "no arguments": with_body(good, [], 0),
        "two arguments": with_body(good, [1, 2], 0),
        "arguments that are a text": with_body(good, "x", 0),
        "a body of kombu's own types": with_body(good, {"__type__": "datetime", "__value__": "never"}, 1),
        "keywords that are a list": with_body(good, [1], 1),
        "a callback": with_body(good, [{"task": "os.system"}], 2, "callbacks"),
        "callbacks that are a number": with_body(good, 5, 2, "callbacks"),
        "an error callback": with_body(good, [{"task": "os.system"}], 2, "errbacks"),
        "error callbacks that are a number": with_body(good, 5, 2, "errbacks"),
        "a chord": with_body(good, {"task": "os.system"}, 2, "chord"),
        "a chain that is a number": with_body(good, 5, 2, "chain"),
        "a chain of numbers": with_body(good, [5], 2, "chain"),
        "a chain of another task": with_body(good, [{"task": "os.system", "args": [], "kwargs": {}, "options": {}}], 2, "chain"),
    }  # fmt: skip
    return entries | {name: json.dumps(message).encode() for name, message in messages.items()}


def forged_entries(good: Message) -> dict[str, bytes]:
    """Messages of the right shape that say something wrong."""
    run = body_of(good)[0][0]["run"].rpartition(".")[0]
    return {name: json.dumps(with_body(good, value, 0, 0, field)).encode() for name, field, value in [
        ("an unknown version", "v", 2),
        ("a version that is a text", "v", "1"),
        ("a version that is a list", "v", [[[]]]),
        ("a path as run", "run", "../../etc/passwd.0"),
        ("a path within the run", "run", "train-7k3m9q2x/../x.0"),
        ("a run of no sweep", "run", UNKNOWN_RUN),
        ("an index out of range", "run", f"{run}.1"),
        ("a negative index", "run", f"{run}.-1"),
        ("an index of too many digits", "run", f"{run}.{'9' * 5000}"),
        ("a run that is a list", "run", [1]),
        ("a run with a NUL", "run", "\0"),
        ("an unknown step", "step", "nothing"),
        ("a path as step", "step", "../../x"),
        ("a step of 1 MB", "step", "x" * 1_000_000),
    ]} | {name: json.dumps(with_body(good, value, 1)).encode() for name, value in [
        ("a value that was not accepted", {"learning_rate": 0.02}),
        ("a value of another type", {"learning_rate": "0.01"}),
        ("a missing value", {}),
        ("a value too many", {"learning_rate": 0.01, "more": 1}),
        ("a value that is a list", {"learning_rate": [0.01]}),
        ("a value that is no number", {"learning_rate": float("nan")}),
        ("5 MB of values", {"learning_rate": "x" * 5_000_000}),
        ("200,000 values", {f"x{n}": n for n in range(200_000)}),
    ]}  # fmt: skip
