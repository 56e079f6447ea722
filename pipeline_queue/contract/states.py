"""The states of runs and steps, and the causes a step can fail of."""

from __future__ import annotations

from typing import Literal

RunState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
StepState = Literal["waiting", "running", "retrying", "succeeded", "failed", "skipped", "cancelled"]

ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
"""The run states that never change again."""
