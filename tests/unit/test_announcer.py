"""A worker announces changes at once, and otherwise often enough to count as alive."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.index.run_index import RunIndex
from workers.agents.announcer import ANNOUNCE_SECONDS, Announcer


class _Site:
    def __init__(self) -> None:
        self.now = 0.0
        self.is_away = False
        self.said: list[int] = []
        workers = SimpleNamespace(announce=self._hear)
        self.run_index = cast(RunIndex, SimpleNamespace(workers=workers))
        self.announcer = Announcer("one@test", self._facts, lambda: self.now)

    def _facts(self, busy: int) -> dict[str, Any]:
        return {"busy": busy, "clock_seconds": self.now}

    def _hear(self, name: str, facts: dict[str, Any]) -> None:
        if self.is_away:
            raise BrokerError("away")
        self.said.append(facts["busy"])

    def look(self, seconds: float, busy: int) -> list[int]:
        self.now += seconds
        self.announcer.announce(self.run_index, busy)
        return self.said


def test_what_stays_the_same_is_announced_only_every_few_seconds() -> None:
    site = _Site()
    assert site.look(0, 0) == site.look(1, 0) == site.look(1, 0) == [0]
    assert site.look(ANNOUNCE_SECONDS, 0) == [0, 0]


def test_a_change_is_announced_at_once() -> None:
    site = _Site()
    site.look(0, 0)
    assert site.look(0.1, 2) == [0, 2]


def test_what_could_not_be_announced_is_announced_the_next_time() -> None:
    site = _Site()
    site.is_away = True
    with pytest.raises(BrokerError):
        site.look(0, 1)
    site.is_away = False
    assert site.look(1, 1) == [1]
