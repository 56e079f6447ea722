"""In CI a test that is skipped fails, unless the machine really cannot run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skipped import ALLOWED, judge

ROOT = Path(__file__).resolve().parents[2]


def test_only_reasons_that_a_probe_confirms_are_allowed() -> None:
    probed = []

    def probe(answer: bool) -> bool:
        probed.append(answer)
        return answer

    known = [("no browser", lambda: probe(True)), ("no redis", lambda: probe(False))]
    skips = judge(
        [("a", "no browser here"), ("b", "no browser here"), ("c", "no redis"), ("d", "too slow"), ("e", "no browser; no redis")],
        known,
    )  # fmt: skip
    assert skips.line() == (
        "skipped proofs: 2 because no browser here; NOT ALLOWED c (no redis); NOT ALLOWED d (too slow); "
        "NOT ALLOWED e (no browser; no redis)"
    )
    assert probed == [True, False]
    assert judge([]).line() == "skipped proofs: none"


def test_every_probe_answers_here() -> None:
    assert [type(probe()) for _, probe in ALLOWED] == [bool] * len(ALLOWED)


@pytest.mark.parametrize(
    ("ci", "processes", "body", "exit_code", "told"),
    [
        ("true", "1", "pytest.skip('no time today')", 1, "NOT ALLOWED"),
        ("true", "0", "pytest.skip('root reads everything')", 0 if os.geteuid() == 0 else 1, "root reads everything"),
        ("", "0", "pytest.skip('no time today')", 0, "1 skipped"),
    ],
)
def test_a_session_fails_for_a_skip_in_ci_only(
    tmp_path: Path, ci: str, processes: str, body: str, exit_code: int, told: str
) -> None:
    (tmp_path / "conftest.py").write_text("from tests.skipped import register as pytest_configure\n")
    (tmp_path / "test_it.py").write_text(f"import pytest\ndef test_it():\n    {body}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", processes, str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert told in done.stdout
