"""The states of runs and steps, and the causes a step can fail of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RunState = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]
"""`waiting`: for the execution of a step that it shares with another run."""
StepState = Literal["waiting", "running", "retrying", "succeeded", "failed", "skipped", "cancelled"]

ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
"""The run states that never change again."""

SHARED_FAILURE = "\x1fshared"
"""What a cause ends with in the index when the run shares the failure of another run's execution."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind: how many runs, one of them, and how many share the failure of another's execution.

    `reason`: why the example failed, with its own numbers and paths; empty where it was not asked for.
    """

    text: str
    count: int
    example: str
    shared: int = 0
    reason: str = ""
