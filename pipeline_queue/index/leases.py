"""What a claim answers and how an attempt ended, as the index keeps it: leases, refusals and endings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.states import RunState, StepState

LEASE_SECONDS = 15.0
MAX_DEATHS = 3
"""Infrastructure deaths of one step after which it is given up."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The time-bound right to execute one attempt."""

    run: RunId
    step: str
    attempt: int
    token: str
    failures: int
    wants_more: bool = False
    """The claim began a run of a sweep that is to take more into its window."""
    leads: tuple[str, str] | None = None
    """Scope and name of the shared step that it executes."""
    handed_on: int = 0
    """How often it was left to another worker to say whether the step or its machine failed."""
    failed_on: tuple[str, ...] = ()
    """Workers (`name@host`) or hosts (`@host`) on which it failed, as far as they are to be avoided."""

    @classmethod
    def decided(cls, run: RunId, step: str) -> Lease:
        """Stands for no lease: records what the storage has decided already."""
        return cls(run, step, attempt=0, token="*", failures=0)  # noqa: S106 - no password


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a claim was not granted; `detail` is the worker, state or due time it depends on."""

    reason: Literal["published", "elsewhere", "cancelled", "ended", "waiting", "exhausted", "avoided"]
    detail: str = ""
    failed_on: tuple[str, ...] = ()
    """Of a step that this worker is to leave to others: where it failed; it is due again in a moment."""
    since_seconds: float | None = None
    """How long ago it was published or had ended, as far as the index says; 0 when only the index can say so."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, as the index keeps it."""

    step_state: StepState
    run_state: RunState
    seconds: float = 0.0
    exit_code: int | None = None
    message: str = ""
    failures: int = 0
    deaths: int = 0
    retry_seconds: float = 0.0
    cause: str = ""
    """What failures of a sweep are grouped by."""
    published: int = 0
    """How many of the run's first steps are published, 0 when this says nothing of it."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the whole run, when it has succeeded."""
    is_unwritten: bool = False
    """The storage does not say so, and could not be made to: only remembered here, for long."""
    handed_on: int = 0
    """1 when another worker is to say whether the step or this machine failed."""
    avoid: tuple[str, ...] = ()
    """Workers or hosts that leave the next attempt to others, for `avoid_seconds`."""
    avoid_seconds: float = 0.0


def read_answer(run: RunId, step: str, leads: tuple[str, str] | None, reply: Sequence[Any]) -> Lease | Refusal:
    """What `lua/claim.lua` answered."""
    answer, *rest = reply
    if answer == "run":
        number, token, failures, wants_more, handed_on, failed_on = rest
        places = tuple(failed_on.split("\n")) if failed_on else ()
        return Lease(run, step, int(number), token, int(failures), bool(wants_more), leads, int(handed_on), places)
    if answer == "avoided":
        return Refusal("avoided", failed_on=tuple(rest[0].split("\n")))
    if answer in ("published", "ended"):
        *detail, since = rest
        return Refusal(answer, " ".join(detail), since_seconds=float(since) / 1000 if since else None)
    return Refusal(answer, " ".join(str(part) for part in rest))
