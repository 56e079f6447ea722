"""What sweeps are judged by, each line measured at full size with real workers: some ten minutes.

    python -m benchmarks.sweeps [--quick] [--only NAME,…] [--seed N] [--json FILE]

Exit code 0 when every aim was met (with --quick, which is too small for the aims of time and memory: every count),
1 when not, 2 when a scenario could not do its work.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Outcome, as_json, as_text, is_met, rows
from benchmarks.machine import compile_bytecode, describe
from benchmarks.progress import say
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.conditions import Conditions
from benchmarks.side import BenchmarkError
from pipeline_queue.contract.errors import PipelineQueueError


def main() -> int:
    options = _options()
    # So that what was started is ended, and the folder removed, for a plain `kill` too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    compile_bytecode()
    facts = {**describe(), "size": "quick: too small to judge" if options.quick else "full", "seed": options.seed}
    outcomes = _measure_all(options.only, options.quick, options.seed)
    print(as_text(outcomes, facts))
    if options.json:
        options.json.write_text(json.dumps(as_json(outcomes, facts), indent=1) + "\n")
    if any(outcome.error for outcome in outcomes):
        return 2
    return 0 if is_met(outcomes, counts_only=options.quick) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="everything small, to see that it works")
    parser.add_argument("--only", type=_names, metavar="NAME,…", default=list(SCENARIOS), help=", ".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=7, help="of the random moments in `killed` (7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured to FILE")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return names


def _measure_all(names: Sequence[str], is_quick: bool, seed: int) -> list[Outcome]:
    root = Path(tempfile.mkdtemp(prefix="pq-benchmark-"))
    try:
        return [_measure(name, Conditions(root / name, is_quick, seed)) for name in names]
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _measure(name: str, conditions: Conditions) -> Outcome:
    """Its figures, or why there are none: the others are measured all the same."""
    say(name)
    conditions.folder.mkdir()
    began = time.monotonic()
    try:
        outcome = Outcome(name, SCENARIOS[name](conditions), time.monotonic() - began)
    except (BenchmarkError, PipelineQueueError) as error:
        outcome = Outcome(name, [], time.monotonic() - began, error=str(error))
    shutil.rmtree(conditions.folder, ignore_errors=True)
    say(f"{name}: {outcome.seconds:.0f} s")
    # The table comes at the end; who ends it before that still has what was measured.
    for row in rows(outcome):
        print(row, file=sys.stderr, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
