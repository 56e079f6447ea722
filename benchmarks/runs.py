"""200 runs of 3 steps through this project, a hand-written Celery chain and xargs, interleaved: the ratios.

    python -m benchmarks.runs [--quick] [--runs N] [--rounds N] [--json FILE]

Exit code 0 when the aims of `benchmarks.table` were met (or with --quick, which is too short to judge),
1 when not, 2 when a side did not do its work.

To compare two versions, take turns and change who goes first. Set TMPDIR to a folder on tmpfs or a file system with a
journal: an ext4 without one, as in some containers, searches all inodes deleted within the last minutes whenever a file
is created, which took 40 % of the worker's time here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.hand_written import HandWritten
from benchmarks.machine import compile_bytecode, describe
from benchmarks.ours import OneByOne, Ours
from benchmarks.rounds import Rounds, measure_rounds, warm_up
from benchmarks.side import BenchmarkError, Side
from benchmarks.table import as_json, as_text, rows, verdicts
from benchmarks.work import STEPS_PER_RUN, TRAIN, TRUE, Work
from benchmarks.xargs import Xargs


def main() -> int:
    options = _options()
    # So that what was started is ended, and the folder removed, for a plain `kill` too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    runs, rounds = (30, 2) if options.quick else (options.runs, options.rounds)
    works = [work for work in (TRUE, TRAIN) if options.work in (None, work.name)]
    compile_bytecode()
    machine = {**describe(), "size": f"{rounds} rounds of {runs} runs x {STEPS_PER_RUN} steps, 2 slots"}
    try:
        timings = _measure_all(works, runs, rounds)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = rows(timings, runs)
    print(as_text(table, machine))
    if options.json:
        options.json.write_text(json.dumps(as_json(table, timings, machine), indent=1) + "\n")
    return 0 if options.quick or all(verdict["met"] for verdict in verdicts(table)) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="runs in each measurement (200)")
    parser.add_argument("--rounds", type=int, default=5, help="times each side is measured on each work (5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 30 runs, to see that it works")
    parser.add_argument("--work", choices=[TRUE.name, TRAIN.name], help="only this work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured to FILE")
    return parser.parse_args()


def _measure_all(works: Sequence[Work], runs: int, rounds: int) -> Rounds:
    folder = Path(tempfile.mkdtemp(prefix="pq-benchmark-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        sides: list[Side] = [
            Ours(folder / "ours"),
            OneByOne(folder / "one-by-one"),
            HandWritten(folder / "chain"),
            Xargs(folder / "xargs"),
        ]
        for side in sides:
            stack.callback(side.stop)
            side.start()
        warm_up(sides, works)
        return measure_rounds(sides, works, runs, rounds)


if __name__ == "__main__":
    sys.exit(main())
