"""Tracks live workers: each announces itself every few seconds, and counts as gone when it stops."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pipeline_queue.contract.idle_folders import IdleFolders
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors, server_time
from pipeline_queue.index.decoding import GarbageError

if TYPE_CHECKING:
    from redis import Redis

_WORKER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """One worker that announced itself in the last seconds."""

    name: str
    queues: tuple[str, ...]
    slots: int
    busy: int
    version: str
    clock_seconds: float
    storage_token: str = ""
    notes: tuple[str, ...] = field(default=())
    warm: WarmPython = field(default=WarmPython())
    holds: tuple[str, ...] = field(default=())
    """Why it takes no steps now."""
    idle: IdleFolders = field(default=IdleFolders())


class WorkerRegistry:
    """Thread-safe; every method raises BrokerError when Redis is not there."""

    def __init__(self, redis: Redis, broker_url: str) -> None:
        self._redis = redis
        self._url = broker_url

    def announce(self, name: str, facts: dict[str, Any]) -> None:
        """Record that a worker is alive. `facts`: queues, slots, busy, version, clock_seconds, storage_token, notes,
        holds, warm, idle."""
        with broker_errors(self._url):
            row = {**facts, "v": 1, "seen": server_time(self._redis)}
            self._redis.hset(keys.WORKERS, name, json.dumps(row))

    def withdraw(self, name: str) -> None:
        """Remove a worker that leaves."""
        with broker_errors(self._url):
            self._redis.hdel(keys.WORKERS, name)

    def live(self) -> list[LiveWorker]:
        """The workers that announced themselves in the last 15 s, by name."""
        with broker_errors(self._url):
            now = server_time(self._redis)
            found = cast(dict[str, str], self._redis.hgetall(keys.WORKERS))
            rows, garbage = decoding.readable(keys.WORKERS, sorted(found), lambda name: _worker(name, found[name], now))
            gone = [worker.name for seen, worker in rows if now - seen > 60 * _WORKER_SECONDS]
            if gone or garbage:
                self._redis.hdel(keys.WORKERS, *gone, *garbage)
        return [worker for seen, worker in rows if now - seen <= _WORKER_SECONDS]


def _worker(name: str, text: str, now: float) -> tuple[float, LiveWorker]:
    """When the worker was last seen, and what it announced. Raises GarbageError."""
    row = decoding.json_row(text)
    if not decoding.is_text(name) or not name.isprintable():
        raise GarbageError("a worker's name is no text")
    seen = decoding.seconds_of(row, "seen")
    if seen > now + _WORKER_SECONDS:
        raise GarbageError("seen in the future")
    warm = row.get("warm") or {}
    if not isinstance(warm, dict):
        raise GarbageError("warm is no object")
    idle = row.get("idle") or {}
    if not isinstance(idle, dict):
        raise GarbageError("idle is no object")
    worker = LiveWorker(
        name=name,
        queues=decoding.texts_of(row, "queues"),
        slots=decoding.count_of(row, "slots"),
        busy=decoding.count_of(row, "busy"),
        version=decoding.text_of(row, "version"),
        clock_seconds=decoding.seconds_of(row, "clock_seconds") - seen,
        storage_token=decoding.text_of(row, "storage_token", ""),
        notes=decoding.texts_of(row, "notes", ()),
        warm=WarmPython.from_json({key: decoding.count_of(warm, key) for key in warm}),
        holds=decoding.texts_of(row, "holds", ()),
        idle=IdleFolders.from_json({key: decoding.count_of(idle, key) for key in idle}),
    )
    return seen, worker
