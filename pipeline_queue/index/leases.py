"""Values of a claim's answer and an attempt's end, as the index keeps them: leases, refusals and endings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.states import RunState, StepState

LEASE_SECONDS = 15.0
MAX_DEATHS = 3
"""Infrastructure deaths of one step after which it fails for good."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The time-bound right to execute one attempt."""

    run: RunId
    step: str
    attempt: int
    token: str
    failures: int
    wants_more: bool = False
    """The claim began a run, and its sweep should take more runs into its window."""
    leads: tuple[str, str] | None = None
    """Scope and name of the shared step that the run executes."""
    handed_on: int = 0
    """How often another worker had to retry the step, to determine whether the step or the machine was at fault."""
    failed_on: tuple[str, ...] = ()
    """Workers (`name@host`) or hosts (`@host`) on which the step failed and which should avoid it."""

    @classmethod
    def decided(cls, run: RunId, step: str) -> Lease:
        """A stand-in for a lease, for recording what the storage has already decided."""
        return cls(run, step, attempt=0, token="*", failures=0)  # noqa: S106 - no password


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a claim was not granted; `detail` is the worker, state or due time it depends on."""

    reason: Literal["published", "elsewhere", "cancelled", "ended", "waiting", "exhausted", "avoided"]
    detail: str = ""
    failed_on: tuple[str, ...] = ()
    """For a step that this worker should leave to others: where it failed. The step is due again shortly."""
    since_seconds: float | None = None
    """How long ago it was published or ended, if the index knows; 0 when only the index knows of the end."""


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
    """The text by which a sweep's failures are grouped."""
    published: int = 0
    """How many of the run's first steps are published; 0 when not stated."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The whole run's metrics, when it has succeeded."""
    is_unwritten: bool = False
    """The end could not be written to the storage; only the index remembers it, for a long time."""
    handed_on: int = 0
    """1 when another worker must retry the step, to determine whether the step or this machine was at fault."""
    avoid: tuple[str, ...] = ()
    """Workers or hosts that leave the next attempt to others, for `avoid_seconds`."""
    avoid_seconds: float = 0.0


def read_answer(run: RunId, step: str, leads: tuple[str, str] | None, reply: Sequence[Any]) -> Lease | Refusal:
    """Decode the reply of `lua/claim.lua`."""
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
