"""Sends changes to browsers as server-sent events: one reader for each thing that is watched, whoever many watch it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tornado.iostream

from pipeline_queue.contract.errors import InputError, PipelineQueueError
from pipeline_queue.dashboard.api import read_cluster, read_run_detail, read_sweep_detail
from pipeline_queue.dashboard.handler import JsonHandler
from pipeline_queue.dashboard.reading import Reading
from pipeline_queue.reporting.sweeps import ENDED_SWEEP

logger = logging.getLogger(__name__)

_BUSY_SECONDS = 1.0
_QUIET_SECONDS = 5.0
_COMMENT_SECONDS = 15.0
_MAX_WATCHERS = 500
_SHOWN_SWEEPS = 50
"""As many as the page of all sweeps shows at a time."""


@dataclass(slots=True)
class _Topic:
    """What is read for one topic; `message` is its last state as an event, empty before the first."""

    read: Callable[[], tuple[dict[str, Any], bool]]
    watchers: set[asyncio.Event] = field(default_factory=set)
    number: int = 0
    content: str = ""
    message: bytes = b""
    task: asyncio.Task[None] | None = None


class Feed:
    """The topics that somebody watches. Everything here happens in the server's own loop."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._topics: dict[str, _Topic] = {}

    def watch(self, name: str, changed: asyncio.Event) -> _Topic:
        """Sets `changed` at each change from now on. Raises InputError for a topic that does not exist."""
        if sum(len(one.watchers) for one in self._topics.values()) >= _MAX_WATCHERS:
            raise InputError(f"more than {_MAX_WATCHERS} pages are open; close some")
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(self._reader(name))
        topic.watchers.add(changed)
        if topic.task is None:
            topic.task = asyncio.get_running_loop().create_task(self._follow(name, topic))
        return topic

    def leave(self, name: str, changed: asyncio.Event) -> None:
        """The last one to leave ends the reading."""
        topic = self._topics[name]
        topic.watchers.discard(changed)
        if not topic.watchers:
            if topic.task is not None:
                topic.task.cancel()
            del self._topics[name]

    async def _follow(self, name: str, topic: _Topic) -> None:
        while True:
            is_busy = False
            try:
                state, is_busy = await self._reading.run(topic.read)
                kind, content = "state", _text(state)
            except PipelineQueueError as error:
                kind, content = "problem", _text({"error": str(error)})
            except Exception:
                # Whoever watches would wait for ever if this loop ended.
                logger.exception("abort reading topic=%s", name)
                kind, content = "problem", _text({"error": "The dashboard failed; its log names the cause."})
            if (kind, content) != (topic.message.partition(b"\n")[0].decode().removeprefix("event: "), topic.content):
                topic.number += 1
                topic.content = content
                topic.message = f"event: {kind}\nid: {topic.number}\ndata: {content}\n\n".encode(errors="replace")
                for watcher in topic.watchers:
                    watcher.set()
            await asyncio.sleep(_BUSY_SECONDS if is_busy else _QUIET_SECONDS)

    def _reader(self, name: str) -> Callable[[], tuple[dict[str, Any], bool]]:
        kind, _, item = name.partition(":")
        reading = self._reading
        if name == "sweeps":
            return lambda: _read_sweeps(reading)
        if kind == "sweep" and item:
            return lambda: _read_sweep(reading, item)
        if kind == "run" and item:
            return lambda: _read_run(reading, item)
        if name == "cluster":
            return lambda: _read_cluster(reading)
        raise InputError(f"there is no topic '{name[:100]}' (sweeps, sweep:<id>, run:<id>, cluster)")


class Events(JsonHandler):
    """`GET /api/events?topic=…`."""

    async def get(self) -> None:
        name, changed = self.text("topic"), asyncio.Event()
        feed: Feed = self.application.feed
        topic = feed.watch(name, changed)
        self._closed = changed
        self._is_open = True
        try:
            self.set_header("Content-Type", "text/event-stream; charset=UTF-8")
            self.set_header("X-Accel-Buffering", "no")
            self.write(b"retry: 3000\n\n")
            sent = 0
            while self._is_open:
                if topic.number != sent:
                    sent = topic.number
                    self.write(topic.message)
                await self.flush()
                changed.clear()
                try:
                    await asyncio.wait_for(changed.wait(), _COMMENT_SECONDS)
                except TimeoutError:
                    self.write(b": still here\n\n")
        except tornado.iostream.StreamClosedError:
            pass
        finally:
            feed.leave(name, changed)

    def on_connection_close(self) -> None:
        self._is_open = False
        if hasattr(self, "_closed"):
            self._closed.set()


def _text(state: dict[str, Any]) -> str:
    return json.dumps(state, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _read_sweeps(reading: Reading) -> tuple[dict[str, Any], bool]:
    listed = reading.sweeps.page("", "", 0, _SHOWN_SWEEPS)
    is_busy = any(row.state not in ENDED_SWEEP for row in listed.rows)
    state = {"sweeps": [row.as_json() for row in listed.rows], "total": listed.total, "read": listed.read}
    return state, is_busy or listed.read < listed.total


def _read_sweep(reading: Reading, name: str) -> tuple[dict[str, Any], bool]:
    state = read_sweep_detail(reading, name)
    rows = reading.recent_rows(state["id"])
    state["version"], state["reading"] = rows.version, rows.progress()
    return state, state["state"] not in ENDED_SWEEP or state["reading"] is not None


def _read_run(reading: Reading, name: str) -> tuple[dict[str, Any], bool]:
    state = read_run_detail(reading, name)
    return state, state["state"] not in ENDED_SWEEP


def _read_cluster(reading: Reading) -> tuple[dict[str, Any], bool]:
    state = read_cluster(reading)
    return state, any(worker["busy"] for worker in state["workers"])
