"""What a worker without work costs: Redis commands per second, and the share of a core.

    python -m benchmarks.idle [--seconds N] [--slots N]

Starts a private server and one worker, waits until the worker has settled, and counts over the seconds given. Commands
are those of `INFO commandstats`; those that Lua scripts call are counted by Redis too. Exit code 0 when both figures
are below their limits.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cpu import tree_seconds
from benchmarks.site import Site

_SETTLE_SECONDS = 5.0
_MAX_COMMANDS_PER_SECOND = 5.0
_MAX_CPU_PERCENT = 0.5
_OF_THIS_BENCHMARK = frozenset({"config|resetstat"})
"""Its one INFO is not counted yet when it answers."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="count for so long (30)")
    parser.add_argument("--slots", type=int, default=2, help="slots of the worker (2)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pq-idle-"))
    try:
        with Site(folder / "site") as site:
            (worker,) = site.start_workers(1, options.slots)
            time.sleep(_SETTLE_SECONDS)
            site.redis.config_resetstat()
            cpu_before, began = tree_seconds([worker.process.pid]), time.monotonic()
            time.sleep(options.seconds)
            cpu, seconds = tree_seconds([worker.process.pid]) - cpu_before, time.monotonic() - began
            calls = _calls(site.redis)
            site.check_workers()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for command, count in sorted(calls.items(), key=lambda item: -item[1]):
        print(f"{count / seconds:8.2f}/s  {command}")
    rate, percent = sum(calls.values()) / seconds, 100 * cpu / seconds
    print(f"{rate:8.2f}/s  all commands (limit {_MAX_COMMANDS_PER_SECOND:g})")
    print(f"{percent:8.2f} %  of a core (limit {_MAX_CPU_PERCENT:g})")
    return 0 if rate < _MAX_COMMANDS_PER_SECOND and percent < _MAX_CPU_PERCENT else 1


def _calls(redis: Any) -> dict[str, int]:
    """Command -> how often it was called, without what this benchmark sends."""
    stats: dict[str, dict[str, int]] = redis.info("commandstats")
    counts = {name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in stats.items()}
    return {name: count for name, count in counts.items() if name not in _OF_THIS_BENCHMARK}


if __name__ == "__main__":
    sys.exit(main())
