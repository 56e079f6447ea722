"""How a sweep is to be worked on, apart from its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Priority = Literal["high", "normal", "low"]
OnFailure = Literal["continue", "stop"]


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """`max_parallel` runs at a time (None: as many as there are slots).

    With `on_failure` `stop` no run is started any more once more than `max_failures` (None: 0) have failed.
    """

    max_parallel: int | None = None
    priority: Priority = "normal"
    on_failure: OnFailure = "continue"
    max_failures: int | None = None
