"""Deletes and triples queued messages while they wait, from a thread of its own."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable
from typing import Any

from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.limits import join_all

_DELETED, _TRIPLED = 0.05, 0.10
_LOOK_SECONDS = 0.005


def meddle_with_messages(lab: Lab, seed: int) -> Callable[[], Look]:
    meddler = _Meddler(lab, seed)
    meddler.start()
    return meddler.stop


class _Meddler(threading.Thread):
    """Every message is judged once, by its id; its copies are left alone."""

    def __init__(self, lab: Lab, seed: int) -> None:
        super().__init__(name="meddler", daemon=True)
        self._lab = lab
        self._chance = random.Random(seed)
        self._judged: set[str] = set()
        self._deleted = self._tripled = 0
        self._stopping = threading.Event()

    def stop(self) -> Look:
        self._stopping.set()
        join_all([self])
        notes = [f"{len(self._judged)} messages seen in queues, {self._deleted} deleted, {self._tripled} tripled"]
        if self._lab.proxy:
            notes.append(f"{self._lab.proxy.lost} of {self._lab.proxy.counted} replies to pushes and pops lost")
        short = [] if self._deleted and self._tripled else ["no message was caught in a queue"]
        return Look(short=short, notes=notes)

    def run(self) -> None:
        client = self._lab.server.client()
        with contextlib.closing(client):
            while not self._stopping.wait(_LOOK_SECONDS):
                for queue in list(client.scan_iter(_type="list")):
                    for message in client.lrange(queue, 0, -1):
                        self._judge(client, queue, message)

    def _judge(self, client: Any, queue: str, message: str) -> None:
        id = str(json.loads(message)["headers"]["id"])
        if id in self._judged:
            return
        self._judged.add(id)
        drawn = self._chance.random()
        if drawn < _DELETED:
            self._deleted += int(client.lrem(queue, 1, message))
        elif drawn < _TRIPLED:
            self._tripled += 1
            client.lpush(queue, message, message)
