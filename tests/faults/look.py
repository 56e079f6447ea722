"""What a scenario finds beside the checker."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Look:
    """`red` breaks a promise, `short` misses a limit or an aim of the lab, `notes` only tell."""

    red: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: Look) -> Look:
        return Look(self.red + other.red, self.short + other.short, self.notes + other.notes)
