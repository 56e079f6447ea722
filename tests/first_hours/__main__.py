"""`python -m tests.first_hours --out DIR`: plays all hours at 80x24 and 120x40 and keeps the screens in DIR."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.first_hours.hours import HOURS, Desk, prepare, wait_for_services
from tests.first_hours.keeping import Screens

SIZES = ("80x24", "120x40")


def main() -> int:
    """0 when every hour could be played to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the screens")
    parser.add_argument("--size", choices=SIZES, action="append", help="only this size; repeat for more")
    parser.add_argument("--hour", choices=list(HOURS), action="append", help="only this hour; repeat for more")
    options = parser.parse_args()
    stopped = 0
    for size in options.size or SIZES:
        columns, rows = map(int, size.split("x"))
        for hour in options.hour or HOURS:
            with tempfile.TemporaryDirectory(prefix="hours-") as folder:
                prepare(Path(folder))
                desk = Desk(Path(folder), Screens(options.out / size / hour), columns, rows)
                try:
                    HOURS[hour](desk)
                    print(f"{size} {hour}: {desk.screens.count} screens", flush=True)
                except AssertionError as error:
                    stopped += 1
                    print(f"{size} {hour}: stopped after {desk.screens.count} screens: {error}", flush=True)
                wait_for_services(Path(folder))
    return 1 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
