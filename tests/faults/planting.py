"""Plants garbage in the project's own keys of Redis while a sweep runs, from a thread of its own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from redis import Redis

from pipeline_queue.index.keys import runs_of
from tests.faults.counts import watch_counts
from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.garbage import PLAIN_KEYS, QUEUE_KEYS, keys_of_sweep, plant_bad_entry, plant_wrong_type
from tests.limits import join_all

_RUNS = 4
"""Of the many that have a hash, so that other keys have their turn."""


def plant_garbage(count: int, every_seconds: float) -> Callable[[Lab, int], Callable[[], Look]]:
    """So many times, once the sweep is there. The counts are watched meanwhile."""

    def begin(lab: Lab, seed: int) -> Callable[[], Look]:
        planter = _Planter(lab, seed, count, every_seconds)
        end_watch = watch_counts(lab)
        planter.start()
        return lambda: planter.stop() + end_watch()

    return begin


class _Planter(threading.Thread):
    def __init__(self, lab: Lab, seed: int, count: int, every_seconds: float) -> None:
        super().__init__(name="planter", daemon=True)
        self._lab = lab
        self._chance = random.Random(seed)
        self._every_seconds = every_seconds
        self._count = count
        self._said: list[str] = []
        self._stopping = threading.Event()

    def stop(self) -> Look:
        self._stopping.set()
        join_all([self])
        short = [] if len(self._said) == self._count else [f"{len(self._said)} of {self._count} times was planted"]
        return Look(short=short, notes=[f"planted: {one}" for one in self._said])

    def run(self) -> None:
        url = urlsplit(self._lab.server.url)
        with Redis(unix_socket_path=url.path, password=url.password) as redis:
            while len(self._said) < self._count and not self._stopping.wait(self._every_seconds):
                sweeps = [path.parent.name for path in (self._lab.storage / "sweeps").glob("*/sweep.json")]
                if sweeps:
                    self._plant(redis, sweeps[0])

    def _plant(self, redis: Redis, sweep: str) -> None:
        known = {**PLAIN_KEYS, **QUEUE_KEYS, **keys_of_sweep(sweep, 0)}
        runs = sorted(key.decode() for key in redis.scan_iter(f"{runs_of(sweep)}*", count=1000))
        known |= dict.fromkeys(self._chance.sample(runs, min(len(runs), _RUNS)), "hash")
        key = self._chance.choice(list(known))
        plant = self._chance.choice((plant_wrong_type, plant_bad_entry))
        self._said.append(plant(redis, key, known[key], self._chance))
