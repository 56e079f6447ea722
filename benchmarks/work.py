"""The two kinds of work that are measured, as every side runs them: the same commands, three to a run."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIPELINES = Path(__file__).resolve().parent / "pipelines"
STEPS_PER_RUN = 3

_OUTPUTS = ("prepare.json", "train.json", "metrics.json")


@dataclass(frozen=True, slots=True)
class Work:
    """`pipeline` is the file that this project runs; the other sides run `commands` in their own folder."""

    name: str
    pipeline: Path
    runs_python: bool

    def commands(self, run: int, learning_rate: float) -> list[list[str]]:
        """The argv of each step of one run."""
        if not self.runs_python:
            return [["/bin/true"] for _ in range(STEPS_PER_RUN)]
        script = str(self.pipeline.parent / "train.py")
        return [[sys.executable, script, "--lr", str(learning_rate), "--out", f"{run}-{output}"] for output in _OUTPUTS]


TRUE = Work("/bin/true", PIPELINES / "true" / "pipeline.yaml", runs_python=False)
TRAIN = Work("python train.py", PIPELINES / "train" / "pipeline.yaml", runs_python=True)


def learning_rate(run: int) -> float:
    """A value of its own for every run, so that no side can do the work of two at once."""
    return (run + 1) / 10_000


def environment(**added: str) -> dict[str, str]:
    """The environment of everything that is started.

    Without PYTHONDONTWRITEBYTECODE: freshly installed packages would be compiled again in every process.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **added}
