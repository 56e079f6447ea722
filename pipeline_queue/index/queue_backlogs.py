"""Counts the messages that wait in queues. A part of the index."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipeline_queue.broker.message import lists_of
from pipeline_queue.index.connection import broker_errors

if TYPE_CHECKING:
    from redis import Redis

_MAX_QUEUES = 1000
"""Each costs one command for each of its lists."""


class QueueBacklogs:
    """Thread-safe; every method raises BrokerError when Redis is not there."""

    def __init__(self, redis: Redis, broker_url: str) -> None:
        self._redis = redis
        self._url = broker_url

    def waiting(self, queues: Iterable[str]) -> dict[str, int | None]:
        """Queue -> how many messages wait in its lists, in one round trip; of the first 1,000 queues by name.

        None if the server does not say: the key has another type, or this user may not read it.
        """
        from redis import Redis

        names = sorted(set(queues))[:_MAX_QUEUES]
        if not names:
            return {}
        with broker_errors(self._url):
            # Not our client's own pipeline, which drops a key that is no list: the name may be another program's key.
            pipe = Redis.pipeline(self._redis, transaction=False)
            for name in names:
                for one in lists_of(name):
                    pipe.llen(one)
            lengths = pipe.execute(raise_on_error=False)
        each = len(lengths) // len(names)
        return {name: _sum(lengths[at * each : (at + 1) * each]) for at, name in enumerate(names)}


def _sum(lengths: list[Any]) -> int | None:
    return sum(lengths) if all(isinstance(length, int) for length in lengths) else None
