"""What really ran, told by the steps: each appends to a file outside of all storage when it begins and when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.work import PIPELINES

WITNESS = "BENCHMARK_WITNESS"
"""The environment variable that tells `mark.sh` where."""

MARKED = PIPELINES / "marked"
"""Its pipelines mark what they execute."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """`words` are what the step was given."""

    process: int
    moment: str
    words: str


@dataclass(frozen=True, slots=True)
class Witness:
    """The file of one scenario."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        return {WITNESS: str(self.path)}

    def marks(self) -> list[FileStamp]:
        if not self.path.exists():
            return []
        lines = (line.split(" ", 2) for line in self.path.read_text().splitlines())
        return [FileStamp(int(process), moment, words) for process, moment, words in lines]

    def executed(self) -> Counter[str]:
        """What was given to a step -> how often one began with it."""
        return Counter(mark.words for mark in self.marks() if mark.moment == "begun")

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Tally:
    """How what was executed differs from every one of the expected once."""

    executed: int
    lost: int
    doubled: int
    strange: int


def tally(executed: Counter[str], expected: Iterable[str]) -> Tally:
    """`strange` is what nobody asked for; each further execution of the same is one doubled."""
    wanted = set(expected)
    return Tally(
        executed=executed.total(),
        lost=len(wanted - executed.keys()),
        doubled=sum(count - 1 for count in executed.values()),
        strange=len(executed.keys() - wanted),
    )
