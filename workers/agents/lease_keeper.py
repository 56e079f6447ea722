"""Renews the leases of this worker from a thread of its own, and kills steps whose lease is lost.

The keeper trusts a lease for two thirds of its length, counted from the *request* for the last renewal, on a clock of
this machine that runs on during suspension. So this worker has killed the step before another worker may start it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.index.leases import LEASE_SECONDS, Lease
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.worker_registry import RunningStep, announced_steps
from workers.supervisor.protocol import lease_clock

logger = logging.getLogger(__name__)

TRUSTED_SECONDS = LEASE_SECONDS * 2 / 3
_INTERVAL_SECONDS = 1.0


@dataclass(slots=True)
class Held:
    """A lease while its attempt runs. Only LeaseKeeper changes it, except for `is_ending`.

    The attempt sets `is_ending` right before it records its end in the index, which gives up the lease.
    """

    lease: Lease
    asked_at: float
    running: RunningStep
    lost: bool = False
    cancelled: bool = False
    is_ending: bool = False

    def is_valid(self) -> bool:
        """Whether this worker may still write for the attempt."""
        return not self.lost and lease_clock() < self.asked_at + TRUSTED_SECONDS


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders that the keeper may give the supervisor, by the attempt's uid."""

    renew: Callable[[list[str], float, float], None]
    stop: Callable[[str, str], None]
    kill: Callable[[str, str], None]


class LeaseKeeper:
    """The renewing thread. No other thread uses its `run_index`, so that no slow call elsewhere delays a renewal;
    `worker` is the name of this worker."""

    def __init__(
        self, worker: str, run_index: RunIndex, orders: Orders, announce: Callable[[RunIndex, int], None]
    ) -> None:
        self._worker = worker
        self._run_index = run_index
        self._orders = orders
        self._announce = announce
        self._held: dict[str, Held] = {}
        self._lock = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    @contextmanager
    def keep(self, uid: str, lease: Lease, claimed_at: float) -> Iterator[Held]:
        """Renews the lease while the block runs; `claimed_at` is `lease_clock()` before the claim.

        Meanwhile the attempt has the lowest slot that was free.
        """
        started_at = round(time.time(), 3)
        with self._lock:
            taken = {one.running.slot for one in self._held.values()}
            slot = next(number for number in count() if number not in taken)
            running = RunningStep(slot, str(lease.run), lease.step, started_at)
            held = Held(lease, asked_at=claimed_at, running=running)
            self._held[uid] = held
        try:
            yield held
        finally:
            with self._lock:
                del self._held[uid]
                self._lock.notify_all()

    def running_steps(self) -> list[dict[str, Any]]:
        """The attempts that run now, by slot, as the worker announces them."""
        with self._lock:
            running = [one.running for one in self._held.values()]
        return announced_steps(running)

    def wait_until_none(self, timeout_seconds: float) -> bool:
        """Waits at most `timeout_seconds` until no attempt runs. Returns whether none does."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._held, timeout_seconds)

    def _run(self) -> None:
        while True:
            with self._lock:
                held = dict(self._held)
            try:
                self._renew(held)
                self._announce(self._run_index, len(held))
            except BrokerError as error:
                logger.warning("skip lease renewal: %s", error)
            except Exception:
                logger.exception("abort lease renewal")
            if self._stopping.wait(_INTERVAL_SECONDS):
                return

    def _renew(self, held: dict[str, Held]) -> None:
        if not held:
            return
        asked_at = lease_clock()
        answers = self._run_index.renew([one.lease for one in held.values()], self._worker)
        kept: list[str] = []
        for (uid, one), answer in zip(held.items(), answers, strict=True):
            if answer == "lost" and one.is_ending:
                continue  # given up by the attempt; if it was lost before, the index has told the attempt
            if answer == "lost":
                logger.warning("lose lease run=%s step=%s attempt=%d", one.lease.run, one.lease.step, one.lease.attempt)
                one.lost = True
                self._orders.kill(uid, "lease lost")
                continue
            one.asked_at = asked_at
            kept.append(uid)
            if answer == "cancelled":
                one.cancelled = True
                # At every renewal: the first order may have come before the step's process was started.
                self._orders.stop(uid, "cancelled")
        self._orders.renew(kept, TRUSTED_SECONDS, asked_at)
