"""A file has one job, and is short enough to be read at once."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MAX_LINES = 400


def test_no_file_has_over_400_lines() -> None:
    packages = (ROOT / "pipeline_queue", ROOT / "workers")
    paths = [path for package in packages for path in package.rglob("*") if path.suffix in (".py", ".lua")]
    assert len(paths) > 100
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert {name for name, count in lines.items() if count > MAX_LINES} == set()
