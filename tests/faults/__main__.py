"""`python -m tests.faults [--full] [--only NAME] [--seed N] [--json FILE] [--baseline | --warm] [--server PATH]`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.faults.lab import remove_leftovers
from tests.faults.products import Ours, PlainChain
from tests.faults.scenario import Row
from tests.faults.scenarios import SCENARIOS
from tests.faults.table import heading, line, told


def main(words: list[str]) -> int:
    """0 when nothing is red; 1 when anything is."""
    options = _options(words)
    # Ctrl-C and TERM end the labs like any error: with all they made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    remove_leftovers()
    product = PlainChain() if options.baseline else Ours(options.warm)
    chosen = [one for one in SCENARIOS if not options.only or one.name in options.only]
    rows: list[Row] = []
    print(heading(), flush=True)
    for scenario in chosen:
        if options.baseline and not scenario.baseline:
            continue
        row = scenario.run(options.full, options.seed, product, options.server)
        rows.append(row)
        print(line(row), flush=True)
        if options.json:
            options.json.write_text(json.dumps([one.as_json() for one in rows], indent=2))
    print(*map(told, rows), sep="\n")
    return 1 if any(row.verdict == "red" for row in rows) else 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Breaks things and looks what is left.")
    parser.add_argument("--full", action="store_true", help="the sizes that count; an hour or two in all")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, help="this scenario; may be given again")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule: the same seed, the same faults")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, with the faults as played")
    product = parser.add_mutually_exclusive_group()
    product.add_argument("--baseline", action="store_true", help="the hand-written Celery chain instead")
    product.add_argument("--warm", action="store_true", help="all steps with `preload`: forked from warm processes")
    parser.add_argument("--server", help="a redis-server or valkey-server to use instead of the packaged one")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
