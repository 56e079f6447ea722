"""What a worker says of the folders that wait for their next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_queue.contract.wording import counted, size_text


@dataclass(frozen=True, slots=True)
class IdleFolders:
    """How many wait, and the size of their files."""

    folders: int = 0
    size_bytes: int = 0

    def __str__(self) -> str:
        waits = "waits" if self.folders == 1 else "wait"
        return f"{counted(self.folders, 'staged folder')} {waits} for the next step ({size_text(self.size_bytes)})"

    def as_json(self) -> dict[str, int]:
        return {"folders": self.folders, "size_bytes": self.size_bytes}

    @classmethod
    def from_json(cls, row: Mapping[str, int]) -> IdleFolders:
        return cls(row.get("folders", 0), row.get("size_bytes", 0))
