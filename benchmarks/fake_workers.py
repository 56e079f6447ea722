"""Workers that execute nothing: to Redis they look like real ones, with the project's own messages and scripts.

Each has a connection that waits for messages, renews its leases every second, announces itself and publishes events.
"""

from __future__ import annotations

import heapq
import random
import secrets
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from pipeline_queue.broker.message import Message, decode, lists_of
from pipeline_queue.contract.settings import Settings
from pipeline_queue.index.connection import connect
from pipeline_queue.index.leases import Ending, Lease
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.canvas import following
from pipeline_queue.submitting.feeder import feed
from workers.agents.announcer import ANNOUNCE_SECONDS

QUEUE = "default"
_RENEW_SECONDS = 1.0
_EVENTS_CHANNEL = "/0.celeryev/task.multi"
_EVENTS = "x" * 1500
"""As long as the events of one step in Celery's JSON."""
_WAIT_SECONDS = 1


@dataclass(slots=True)
class _Running:
    message: Message
    lease: Lease
    seconds: float


@dataclass(slots=True)
class _Worker:
    name: str
    connection: Any
    free: int
    running: dict[str, _Running] = field(default_factory=dict)
    is_waiting: bool = False


@dataclass
class Figures:
    """What was done in one measurement."""

    steps: int = 0
    cpu_seconds: float = 0.0
    """That these workers used themselves."""
    claims: list[float] = field(default_factory=list)
    """Seconds that each claim took, as its worker sees it."""
    late: list[float] = field(default_factory=list)
    """Seconds by which each renewal came after its time: over a few, these workers and not Redis are full."""


@dataclass(frozen=True)
class Crew:
    """The workers of one process: those numbered from `first` on. Steps last `step_seconds` on average.

    They work for `ramp_seconds` until steps end as often as they begin, and are then measured.
    """

    sweep: str
    first: int
    workers: int
    slots: int
    step_seconds: float
    ramp_seconds: float
    seconds: float


def work(settings: Settings, crew: Crew) -> Figures:
    """What a crew did while it was measured; for a process of its own."""
    fakes = FakeWorkers(settings, crew)
    try:
        fakes.run(crew.ramp_seconds)
        return fakes.run(crew.seconds)
    finally:
        fakes.close()


class FakeWorkers:
    """Many workers in one thread."""

    def __init__(self, settings: Settings, crew: Crew) -> None:
        self._index = RunIndex.of(settings)
        self._slots, self._step_seconds = crew.slots, crew.step_seconds
        self._storage = Storage(settings.storage)
        self._sweep = Sweep.read(self._storage, crew.sweep)
        self._redis: Any = connect(settings.broker_url)
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = count()
        self._random = random.Random(crew.first)
        self.figures = Figures()
        numbers = range(crew.first, crew.first + crew.workers)
        self._workers = [self._started(f"fake-{number}@benchmark") for number in numbers]
        self._live = self._index.workers.live()
        self._feed()

    def run(self, seconds: float) -> Figures:
        """Works for so long; what was done."""
        self.figures = Figures()
        end, cpu = time.monotonic() + seconds, time.process_time()
        while (now := time.monotonic()) < end:
            while self._due and self._due[0][0] <= now:
                at, _, action = heapq.heappop(self._due)
                action(at)
            wait = min(end, self._due[0][0] if self._due else end) - time.monotonic()
            for key, _ in self._selector.select(max(0.0, wait)):
                self._take(key.data)
        self.figures.cpu_seconds = time.process_time() - cpu
        return self.figures

    def close(self) -> None:
        for worker in self._workers:
            worker.connection.disconnect()
        self._selector.close()
        self._redis.close()
        self._index.close()

    def _started(self, name: str) -> _Worker:
        pool = self._redis.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)  # the pool itself gives at most a hundred
        connection.connect()
        worker = _Worker(name, connection, self._slots)
        self._selector.register(connection._sock, selectors.EVENT_READ, worker)
        now = time.monotonic()
        self._at(now + self._random.random() * _RENEW_SECONDS, lambda at: self._renew(worker, at))
        self._at(now + self._random.random() * ANNOUNCE_SECONDS, lambda at: self._announce(worker, at))
        self._announce_now(worker)
        self._wait(worker)
        return worker

    def _at(self, moment: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._number), action))

    def _wait(self, worker: _Worker) -> None:
        if worker.free and not worker.is_waiting:
            worker.connection.send_command("BRPOP", *lists_of(QUEUE), _WAIT_SECONDS)
            worker.is_waiting = True

    def _take(self, worker: _Worker) -> None:
        reply = worker.connection.read_response()
        worker.is_waiting = False
        if reply:
            self._begin(worker, decode(reply[1]))
        self._wait(worker)

    def _begin(self, worker: _Worker, message: Message) -> None:
        uid, began = secrets.token_hex(6), time.monotonic()
        lease = self._index.claim(message.run, message.step, uid, worker.name)
        now = time.monotonic()
        self.figures.claims.append(now - began)
        if not isinstance(lease, Lease):
            return
        if lease.wants_more:
            self._feed()
        seconds = self._random.uniform(0, 2 * self._step_seconds)
        worker.free -= 1
        worker.running[uid] = _Running(message, lease, seconds)
        self._at(now + seconds, lambda _: self._end(worker, uid))

    def _end(self, worker: _Worker, uid: str) -> None:
        running = worker.running.pop(uid)
        message, pipeline = running.message, self._sweep.pipeline
        published = (*pipeline.before(message.step), message.step)
        is_complete = pipeline.is_complete(published)
        ending = Ending(
            "succeeded", "succeeded" if is_complete else "running", running.seconds, 0, published=len(published)
        )
        point = self._sweep.parameters(message.run)
        self._index.record(running.lease, ending, following(pipeline, message, point, published, None))
        self._redis.publish(_EVENTS_CHANNEL, _EVENTS)
        self.figures.steps += 1
        worker.free += 1
        self._wait(worker)

    def _renew(self, worker: _Worker, at: float) -> None:
        self.figures.late.append(time.monotonic() - at)
        self._index.renew([running.lease for running in worker.running.values()], worker.name)
        self._at(max(at + _RENEW_SECONDS, time.monotonic()), lambda moment: self._renew(worker, moment))

    def _announce(self, worker: _Worker, at: float) -> None:
        self._announce_now(worker)
        self._at(max(at + ANNOUNCE_SECONDS, time.monotonic()), lambda moment: self._announce(worker, moment))

    def _announce_now(self, worker: _Worker) -> None:
        facts = {"queues": [QUEUE], "slots": self._slots, "busy": len(worker.running), "version": "0", "notes": []}
        self._index.workers.announce(worker.name, {**facts, "clock_seconds": time.time()})

    def _feed(self) -> None:
        feed(self._index, self._storage, self._sweep, self._live)
