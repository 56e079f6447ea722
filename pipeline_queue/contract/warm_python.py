"""What a worker says of its warm Python processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline_queue.contract.wording import counted, size_text


@dataclass(frozen=True, slots=True)
class WarmPython:
    """A worker's warm processes, the steps forked from them, those started cold instead, and what the forks share."""

    processes: int = 0
    forked: int = 0
    cold: int = 0
    shared_bytes: int = 0

    def __str__(self) -> str:
        cold = f", {self.cold:,} started cold" if self.cold else ""
        shared = f"; {size_text(self.shared_bytes)} shared by those that run" if self.processes else ""
        count = counted(self.processes, "warm process", "warm processes")
        return f"{count}, {counted(self.forked, 'step')} forked{cold}{shared}"

    def __add__(self, other: WarmPython) -> WarmPython:
        return WarmPython(
            self.processes + other.processes,
            self.forked + other.forked,
            self.cold + other.cold,
            self.shared_bytes + other.shared_bytes,
        )

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> WarmPython:
        return cls(**{name: int(row.get(name, 0)) for name in ("processes", "forked", "cold", "shared_bytes")})
