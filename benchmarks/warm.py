"""200 runs of a step that imports NumPy, and of one that imports scikit-learn, on 2 slots: xargs, started, forked.

    python -m benchmarks.warm [--runs N] [--rounds N] [--work numpy|sklearn]

The sides take turns, `--rounds` times a part of the runs each, all with compiled bytecode. Exit code 0 when the aims
were met, 1 when not, 2 when a side did not do its work.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median

from benchmarks.machine import compile_bytecode, describe
from benchmarks.ours import Ours
from benchmarks.side import BenchmarkError, Side, Timing
from benchmarks.work import Work
from benchmarks.xargs import Xargs

_PIPELINES = Path(__file__).resolve().parent / "pipelines"
_PACKAGES = {"numpy": ("numpy",), "sklearn": ("numpy", "scipy", "joblib", "threadpoolctl", "sklearn")}
AIMS = {"numpy": 6.0, "sklearn": 30.0}
"""Work -> how many times faster than xargs the forked steps should be."""

_SIDES = ("xargs -P", "started cold", "forked warm")
_LIMIT_SECONDS_PER_RUN = 20.0


@dataclass(frozen=True, slots=True)
class Importing(Work):
    """One step that imports much and computes little."""

    def commands(self, run: int, learning_rate: float) -> list[list[str]]:
        script = str(self.pipeline.parent / "step.py")
        return [[sys.executable, script, "--seed", str(run), "--out", f"{run}.json"]]


class Seeded(Ours):
    parameter = "seed"

    def value(self, run: int) -> str:
        return str(run)


def main() -> int:
    options = _options()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    works = [options.work] if options.work else list(AIMS)
    compile_bytecode()
    for package in {name for work in works for name in _PACKAGES[work]}:
        compileall.compile_dir(Path(str(import_module(package).__file__)).parent, quiet=2)
    for name, value in describe().items():
        print(f"{name}: {value}")
    try:
        met = [_report(work, _measure(work, options.runs, options.rounds)) for work in works]
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if all(met) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs of each side on each work (200)")
    parser.add_argument("--rounds", type=int, default=4, help="in how many turns (4)")
    parser.add_argument("--work", choices=list(AIMS), help="only this one")
    return parser.parse_args()


def _measure(work: str, runs: int, rounds: int) -> dict[str, list[tuple[int, Timing]]]:
    folder = Path(tempfile.mkdtemp(prefix="pq-benchmark-"))
    cold, warm = (Importing(work, _PIPELINES / work / f"{kind}.yaml", True) for kind in ("cold", "warm"))
    timings: dict[str, list[tuple[int, Timing]]] = {side: [] for side in _SIDES}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        xargs, ours = Xargs(folder / "xargs"), Seeded(folder / "ours")
        for started in (xargs, ours):
            stack.callback(started.stop)
            started.start()
        measured: tuple[tuple[Side, Work], ...] = ((xargs, cold), (ours, cold), (ours, warm))
        for one, kind in measured:
            one.measure(kind, 4, 4 * _LIMIT_SECONDS_PER_RUN)
        for turn in range(rounds):
            count = runs * (turn + 1) // rounds - runs * turn // rounds
            for side, (one, kind) in zip(_SIDES, measured, strict=True):
                timing = one.measure(kind, count, 30 + count * _LIMIT_SECONDS_PER_RUN)
                timings[side].append((count, timing))
                print(f"{work:8} turn {turn + 1}: {side:13} {_ms(count, timing):8.2f} ms/run", file=sys.stderr)
    return timings


def _ms(count: int, timing: Timing) -> float:
    return 1000 * timing.seconds / count


def _report(work: str, timings: dict[str, list[tuple[int, Timing]]]) -> bool:
    """Prints the rows; whether the aim was met: the median of the ratios within each turn."""
    floor = [_ms(*turn) for turn in timings[_SIDES[0]]]
    for side, turns in timings.items():
        ms = [_ms(*turn) for turn in turns]
        cpu = median(1000 * timing.cpu_seconds / count for count, timing in turns)
        ratio = median(one / two for one, two in zip(floor, ms, strict=True))
        print(f"{work:8} {side:13} {median(ms):8.2f} ms/run ({min(ms):.2f} to {max(ms):.2f}) "
              f"{cpu:8.2f} CPU ms/run {ratio:6.1f} x faster than xargs")  # fmt: skip
    met = ratio >= AIMS[work]
    print(f"{work:8} aim: {AIMS[work]:g} x: {'met' if met else 'NOT met'}")
    return met


if __name__ == "__main__":
    sys.exit(main())
