"""Tracks live workers: each announces itself every few seconds, and counts as gone when it stops."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pipeline_queue.contract.idle_folders import IdleFolders
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors, server_time
from pipeline_queue.index.decoding import GarbageError
from pipeline_queue.index.queue_backlogs import QueueBacklogs

if TYPE_CHECKING:
    from redis import Redis

_WORKER_SECONDS = 15.0
MAX_STEPS = 256
"""How many of its steps a worker announces."""
_MAX_STEPS_CHARACTERS = decoding.MAX_ROW_BYTES // 2
"""Of all of them: a worker whose row is too long would count as gone."""
_MAX_SLOT = 10_000
_MAX_STEP_NAME = 300


@dataclass(frozen=True, slots=True)
class RunningStep:
    """What a worker executes in one of its slots, numbered from 0; `started_at` in Unix seconds by the worker's clock.

    A step keeps its slot until it ends.
    """

    slot: int
    run: str
    step: str
    started_at: float


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """One worker that announced itself in the last seconds. Older workers announce no `host` and no `steps`."""

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
    host: str = ""
    steps: tuple[RunningStep, ...] = ()
    """As of its last announcement, by slot; at most MAX_STEPS, so there may be fewer than `busy`."""
    seen_seconds_ago: float = 0.0


class WorkerRegistry:
    """Thread-safe; every method raises BrokerError when Redis is not there."""

    def __init__(self, redis: Redis, broker_url: str) -> None:
        self._redis = redis
        self._url = broker_url
        self.backlogs = QueueBacklogs(redis, broker_url)

    def announce(self, name: str, facts: dict[str, Any]) -> None:
        """Record that a worker is alive. `facts`: queues, slots, busy, version, clock_seconds, storage_token, notes,
        holds, warm, idle, host, steps."""
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
            rows, garbage = decoding.readable(
                keys.WORKERS, sorted(found), lambda name: decode_worker(name, found[name], now)
            )
            gone = [worker.name for seen, worker in rows if now - seen > 60 * _WORKER_SECONDS]
            if gone or garbage:
                self._redis.hdel(keys.WORKERS, *gone, *garbage)
        return [worker for seen, worker in rows if now - seen <= _WORKER_SECONDS]


def announced_steps(steps: Iterable[RunningStep]) -> list[dict[str, Any]]:
    """The steps by slot, as JSON values; without those in the highest slots if they are too many for one row."""
    rows: list[dict[str, Any]] = []
    characters = 0
    for step in sorted(steps, key=lambda step: step.slot)[:MAX_STEPS]:
        row = {"slot": step.slot, "run": step.run, "step": step.step, "started_at": step.started_at}
        characters += len(json.dumps(row)) + 2
        if characters > _MAX_STEPS_CHARACTERS:
            break
        rows.append(row)
    return rows


def decode_worker(name: str, text: str, now: float) -> tuple[float, LiveWorker]:
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
        host=decoding.text_of(row, "host", ""),
        steps=_steps_of(row.get("steps", [])),
        seen_seconds_ago=max(0.0, now - seen),
    )
    return seen, worker


def _steps_of(rows: object) -> tuple[RunningStep, ...]:
    """The steps of a worker's row, by slot. Raises GarbageError."""
    if not isinstance(rows, list) or len(rows) > MAX_STEPS:
        raise GarbageError("steps is no list of steps")
    steps = sorted((_step_of(row) for row in rows), key=lambda step: step.slot)
    if len({step.slot for step in steps}) < len(steps):
        raise GarbageError("two steps have the same slot")
    return tuple(steps)


def _step_of(row: object) -> RunningStep:
    if not isinstance(row, dict):
        raise GarbageError("steps is no list of steps")
    run, step, slot = row.get("run"), row.get("step"), decoding.count_of(row, "slot")
    # Cheaper than decoding's functions for texts: there may be thousands of steps, and every feeder reads them.
    if not isinstance(run, str) or not isinstance(step, str) or len(step) > _MAX_STEP_NAME or not step.isprintable():
        raise GarbageError("steps has a name that is none")
    if slot >= _MAX_SLOT:
        raise GarbageError("steps has a slot that is too large")
    return RunningStep(slot, str(decoding.run_name(run)), step, decoding.seconds_of(row, "started_at"))
