"""What a scenario is told: where it may write, how large it is to be, and the seed of its chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.site import Site
from benchmarks.witness import Witness


@dataclass(frozen=True, slots=True)
class Conditions:
    """`folder` is the scenario's own, and removed afterwards."""

    folder: Path
    is_quick: bool
    seed: int

    @property
    def witness(self) -> Witness:
        """Beside the storage, never in it."""
        return Witness(self.folder / "witness")

    def site(self) -> Site:
        """To be entered once: server, storage and workers of this folder."""
        return Site(self.folder / "site", self.witness.environment)

    def part(self, name: str) -> Conditions:
        """The same for a part of the scenario, with a site and a witness of its own."""
        return replace(self, folder=self.folder / name)
