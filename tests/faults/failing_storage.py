"""Machines whose storage fails now and then, as over a network: single operations, all of them for a while, old sights."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable

from tests.faults.lab import Lab
from tests.faults.look import Look
from tests.limits import join_all

PER_MILLION = 10_000
"""Operations that fail by chance, each with its next few."""
AWAY_SECONDS = 2.0
HIDDEN_SECONDS = 2.0
_EVERY_SECONDS = 5.0
_ERRORS = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ENOTCONN, errno.EAGAIN)


def fail_storage(lab: Lab, seed: int) -> Callable[[], Look]:
    failing = _Failing(lab, seed)
    failing.start()
    return failing.stop


class _Failing(threading.Thread):
    def __init__(self, lab: Lab, seed: int) -> None:
        super().__init__(name="storage errors", daemon=True)
        assert lab.storage_errors is not None
        self._errors = lab.storage_errors
        self._chance = random.Random(seed)
        self._away = self._hidden = 0
        self._stopping = threading.Event()

    def stop(self) -> Look:
        self._stopping.set()
        join_all([self])
        seen, failed = self._errors.read("seen"), self._errors.read("failed")
        self._errors.disarm()
        note = f"{failed:,} of {seen:,} operations failed; {self._away} times all of them for {AWAY_SECONDS:.0f} s"
        short = [] if failed > 100 and self._away else ["hardly any operation failed"]
        return Look(short=short, notes=[f"{note}; manifests hidden {self._hidden} times for {HIDDEN_SECONDS:.0f} s"])

    def run(self) -> None:
        self._errors.arm(per_million=PER_MILLION)
        while not self._stopping.wait(_EVERY_SECONDS / 2):
            self._errors.fail_now(AWAY_SECONDS, self._chance.choice(_ERRORS))
            self._away += 1
            if self._stopping.wait(_EVERY_SECONDS / 2):
                return
            self._errors.hide_manifests_now(HIDDEN_SECONDS)
            self._hidden += 1
