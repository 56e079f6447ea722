"""`flaky.py N FAILURES`: fails so often, then ends well; tells when, on the boot clock, beside the witness."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

RETRIES = "retries"
_WORK_SECONDS = 0.2


def main(n: int, failures: int) -> int:
    path = Path(os.environ["FAULT_LAB_WITNESS"]).with_name(RETRIES)
    _say(path, n, "begin")
    time.sleep(_WORK_SECONDS)
    if _failed(path, n) < failures:
        _say(path, n, "failed")
        return 1
    Path("done").write_text(str(n))
    return 0


def _failed(path: Path, n: int) -> int:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return sum(line["n"] == n and line["event"] == "failed" for line in lines)


def _say(path: Path, n: int, event: str) -> None:
    boot, machine = time.clock_gettime(time.CLOCK_BOOTTIME), os.environ["FAULT_LAB_MACHINE"]
    line = json.dumps({"n": n, "event": event, "boot": boot, "machine": machine}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
