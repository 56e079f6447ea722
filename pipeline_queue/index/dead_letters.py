"""Dead letters: rejected messages, kept in Redis for a person to read; never executed, never decoded again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors
from pipeline_queue.index.decoding import printable
from pipeline_queue.index.scripts import script

if TYPE_CHECKING:
    from redis import Redis

MAX_ROWS = 500
"""Older rows are dropped."""
MAX_PAYLOAD_BYTES = 2000
_MAX_TEXT_BYTES = 400
_VERSION = 1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected message. All texts are printable; `size_bytes` is the whole message's, `payload` its beginning."""

    at: float
    reason: str
    queue: str
    worker: str
    size_bytes: int
    payload: str


class DeadLetters:
    """Thread-safe; every method raises BrokerError when Redis is not there."""

    def __init__(self, redis: Redis, broker_url: str) -> None:
        self._redis = redis
        self._url = broker_url
        self._keep = redis.register_script(script("keep_dead_letter"))

    def keep(self, payload: bytes, reason: str, queue: str, worker: str) -> None:
        row = {
            "v": _VERSION,
            "reason": _cut(printable(reason), _MAX_TEXT_BYTES),
            "queue": _cut(printable(queue), _MAX_TEXT_BYTES),
            "worker": _cut(printable(worker), _MAX_TEXT_BYTES),
            "bytes": len(payload),
            "payload": _cut(_shown(payload), MAX_PAYLOAD_BYTES),
        }
        with broker_errors(self._url):
            self._keep(keys=[keys.DEAD], args=[json.dumps(row, ensure_ascii=False)[:-1], MAX_ROWS])

    def count(self) -> int:
        with broker_errors(self._url):
            return self._redis.llen(keys.DEAD)

    def latest(self, most: int = MAX_ROWS) -> list[DeadLetter]:
        """The newest first. Skips unreadable rows and rows of other versions."""
        with broker_errors(self._url):
            rows = cast(list[str], self._redis.lrange(keys.DEAD, 0, most - 1))
        return [message for message in decoding.readable(keys.DEAD, rows, _message)[0] if message is not None]

    def clear(self) -> int:
        """Delete all rows; returns how many there were."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline()
            pipe.llen(keys.DEAD)
            pipe.delete(keys.DEAD)
            return int(pipe.execute()[0])


def _shown(payload: bytes) -> str:
    return printable(payload[:MAX_PAYLOAD_BYTES].decode(errors="backslashreplace"))


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


def _message(text: str) -> DeadLetter | None:
    """None for a row of another version. Raises GarbageError."""
    row = decoding.json_row(text)
    if row["v"] != _VERSION:
        return None
    reason, queue, worker, payload = (decoding.text_of(row, name) for name in ("reason", "queue", "worker", "payload"))
    return DeadLetter(decoding.seconds_of(row, "at"), reason, queue, worker, decoding.count_of(row, "bytes"), payload)
