"""Waits for the end of a run or sweep, and yields the changes until then: looks again and again, ever more rarely."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.states import ENDED
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.storage.patience import WAITING, patient


class _Report(Protocol):
    @property
    def state(self) -> str: ...


_T = TypeVar("_T")
_R = TypeVar("_R", bound=_Report)

_FIRST_POLL_SECONDS = 0.02
_MAX_POLL_SECONDS = 0.5
_GROWTH = 1.3
_SETTLE_SECONDS = 5.0
MAX_SWEEP_POLL_SECONDS = 0.125


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a run (`step` is None) or of one of its steps."""

    run: str
    step: str | None
    state: str
    attempts: int = 0
    seconds: float | None = None
    message: str = ""


def wait_for_end(
    look: Callable[[], _R],
    ended: Container[str],
    name: Callable[[_R], str],
    timeout_seconds: float | None,
    max_poll_seconds: float = _MAX_POLL_SECONDS,
) -> _R:
    """The first report whose state is one of `ended`. Raises TimeoutError, which contains the report's `name`."""
    until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    delay = _FIRST_POLL_SECONDS
    while (report := _look_patiently(look)).state not in ended:
        if until is not None and time.monotonic() > until:
            raise TimeoutError(f"{name(report)} is still {report.state} after {timeout_seconds} s")
        time.sleep(delay)
        delay = min(delay * _GROWTH, max_poll_seconds)
    return report


def becomes_idle(run_index: RunIndex) -> bool:
    """Whether nothing is left to do. A worker records the end of a sweep a moment after its last run."""
    until = time.monotonic() + _SETTLE_SECONDS
    while run_index.active() and not run_index.sweeps.has_work() and time.monotonic() < until:
        time.sleep(_FIRST_POLL_SECONDS)
    return run_index.active() == 0


def changes_of(look: Callable[[], RunRecord]) -> Iterator[Event]:
    """Every change from now on until the run has ended; the first events are its present state."""
    known: dict[str, tuple[str, int]] = {}
    state = ""
    delay = _FIRST_POLL_SECONDS
    while True:
        report = _look_patiently(look)
        changes = []
        if report.state != state and report.state not in ENDED:
            changes.append(Event(report.run, None, report.state))
        for step in report.steps:
            if known.get(step.name) != (step.state, step.attempts):
                known[step.name] = (step.state, step.attempts)
                changes.append(Event(report.run, step.name, step.state, step.attempts, step.seconds, step.message))
        if report.state in ENDED:
            changes.append(Event(report.run, None, report.state, message=report.message))
        state = report.state
        yield from changes
        if report.state in ENDED:
            return
        delay = _FIRST_POLL_SECONDS if changes else min(delay * _GROWTH, _MAX_POLL_SECONDS)
        time.sleep(delay)


def _look_patiently(look: Callable[[], _T]) -> _T:
    """Whoever waits for an end can also wait for the storage to come back."""
    with patient(WAITING):
        return look()
