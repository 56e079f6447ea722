"""The command that measures what sweeps are judged by, at its smallest: that it works, never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import GENEROUS_SECONDS, plain_environment

ROOT = Path(__file__).resolve().parents[2]


def _sweeps(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.sweeps", *options],
        cwd=ROOT,
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=GENEROUS_SECONDS,
    )


def test_a_quick_scenario_is_measured_and_its_counts_hold(tmp_path: Path) -> None:
    done = _sweeps("--quick", "--only", "retry", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    (scenario,) = json.loads((tmp_path / "figures.json").read_text())["scenarios"]
    assert (scenario["scenario"], scenario["error"]) == ("retry", "")
    figures = {figure["what"]: figure["value"] for figure in scenario["figures"]}
    # Of 20 runs, those with n 5 and 19 fail in the second of three steps.
    assert figures["steps that `retry` executed, as they tell"] == 4
    assert figures["files of what had succeeded"] > 50
    assert all(figure["met"] for figure in scenario["figures"])
    assert all(figure["what"] in done.stdout for figure in scenario["figures"])


def test_an_unknown_scenario_is_refused_with_the_names_of_all() -> None:
    done = _sweeps("--only", "retries")
    assert done.returncode == 2
    assert "there is no retries" in done.stderr and "throughput" in done.stderr
