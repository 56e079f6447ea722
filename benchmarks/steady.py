"""Thousands of forked steps on one worker: does its memory stay flat, and is anything left behind?

    python -m benchmarks.steady [--runs N] [--work numpy|sklearn]

Memory is what each process has written to (anonymous pages), read while nothing runs after each twentieth of the runs:
mapped files count as much or little as others map them too. Exit code 0 when it grew by less than 5 % over the second
half and nothing was left.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.ours import Ours
from benchmarks.warm import Importing, Seeded
from benchmarks.work import ROOT

_PARTS = 20
_MAX_GROWTH = 0.05
_HELPERS = {"pq-guard": "guard", "pipeline_queue: warm": "warm"}
"""How their commands begin -> role."""
_ROLES = ("worker", "supervisor", *_HELPERS.values())
_PIPELINES = ROOT / "benchmarks" / "pipelines"

Sample = dict[str, tuple[int, int]]
"""Role -> kB of memory, open descriptors."""


def main() -> int:
    options = _options()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = Path(tempfile.mkdtemp(prefix="pq-steady-"))
    work = Importing(options.work, _PIPELINES / options.work / "warm.yaml", True)
    ours = Seeded(folder / "ours")
    try:
        ours.start()
        samples = []
        for part in range(_PARTS):
            ours.measure(work, options.runs // _PARTS, 60 + options.runs)
            samples.append(_sample(ours))
            print(f"{(part + 1) * options.runs // _PARTS:6} steps  {_line(samples[-1])}", flush=True)
        left = _left_behind(folder / "ours" / "scratch")
    finally:
        ours.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return _verdict(samples, left)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="runs of one step each (10,000)")
    parser.add_argument("--work", choices=("numpy", "sklearn"), default="numpy")
    return parser.parse_args()


def _sample(ours: Ours) -> Sample:
    """Of the worker, its supervisor, and its guard and warm processes; anything else below counts as `other`."""
    sample: Sample = {}
    worker = ours.worker_pid()
    for pid, depth in _descendants(worker):
        role = ("worker", "supervisor", _helper(pid))[depth] if depth < 3 else "other"
        memory, descriptors = sample.get(role, (0, 0))
        sample[role] = (memory + _memory_kb(pid), descriptors + len(list(Path(f"/proc/{pid}/fd").iterdir())))
    return sample


def _helper(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_text()
    return next((role for beginning, role in _HELPERS.items() if command.startswith(beginning)), "other")


def _descendants(pid: int, depth: int = 0) -> list[tuple[int, int]]:
    children = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _parent(entry) == pid]
    return [(pid, depth), *(found for child in children for found in _descendants(child, depth + 1))]


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _memory_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def _left_behind(scratch: Path) -> list[str]:
    return sorted(str(path) for path in (scratch / "work").iterdir())


def _line(sample: Sample) -> str:
    return "  ".join(f"{role} {memory:,} kB, {files} files" for role, (memory, files) in sample.items())


def _verdict(samples: list[Sample], left: list[str]) -> int:
    """A warm process that has just made way for the next is in no sample."""
    good = not left and all(set(sample) <= set(_ROLES) for sample in samples)
    second_half = samples[len(samples) // 2 :]
    for role in _ROLES:
        first, *_, last = [sample[role] for sample in second_half if role in sample]
        growth = last[0] / first[0] - 1
        # Files may be fewer or more by what a connection to the broker does at that moment.
        good = good and growth < _MAX_GROWTH and last[1] <= first[1] + 2
        print(f"{role}: {growth:+.1%} over the second half, {first[1]} and {last[1]} files")
    print(f"left behind: {left or 'nothing'}")
    print("flat" if good else "NOT flat")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
