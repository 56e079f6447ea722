"""A file has one job, and is short enough to be read at once."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MAX_LINES = 400


def test_no_file_has_over_400_lines() -> None:
    packages = (ROOT / "pipeline_queue", ROOT / "workers")
    paths = [path for package in packages for path in package.rglob("*") if path.suffix in (".py", ".lua")]
    assert len(paths) > 100
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert {name for name, count in lines.items() if count > MAX_LINES} == set()


MIN_LINES = 40
SMALL_FOR_A_REASON = {
    "pipeline_queue/dashboard/strip.py": "what one process remembers, apart from what it reads",
    "pipeline_queue/loading/line_joins.py": "YAML's joined lines, which nobody would look for in the splitting of words",
    "pipeline_queue/loading/syntax_errors.py": "the wording of the YAML parser's errors, apart from parsing",
    "pipeline_queue/local/ended.py": "removes secrets: found by its name",
    "pipeline_queue/space/json_form.py": "both kinds of spaces, which do not import each other",
    "pipeline_queue/storage/listing.py": "storage.py is as long as a file may be",
    "workers/agents/announcer.py": "one agent per file",
    "workers/dead_letters.py": "app.py assembles the worker and decides nothing",
    "workers/preload.py": "which variables libraries read, a list that grows",
    "workers/shared_steps.py": "what a worker does with a shared step: found by its name",
    "workers/warm/module_shadowing.py": "runs in the step's process: found by its name",
}
"""Files with a single caller that are short all the same, and why they are not a part of it."""


def _imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return found


def test_a_short_file_with_a_single_caller_has_a_reason() -> None:
    paths = [path for package in ("pipeline_queue", "workers") for path in (ROOT / package).rglob("*.py")]
    imported = {path: _imported_modules(path) for path in paths}

    def callers(path: Path) -> int:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        return sum(module in names for other, names in imported.items() if other != path)

    short = {
        str(path.relative_to(ROOT))
        for path in paths
        if not path.name.startswith("__") and len(path.read_text().splitlines()) < MIN_LINES and callers(path) <= 1
    }
    assert short == SMALL_FOR_A_REASON.keys()
