"""Finds the script of a folder that a person most likely means."""

from __future__ import annotations

import ast
import itertools
import os
import re
from pathlib import Path

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.scaffold.script import read_script

_MAX_FILES = 500
_SKIPPED = re.compile(r"(?:test_.*|.*_test|setup|conftest|noxfile|fabfile|tasks|manage)\.py")
_SKIPPED_FOLDERS = ("tests", "test", "docs", "venv", "env", "build", "dist", "node_modules", "site-packages")


def find_scripts(folder: Path) -> list[Path]:
    """The scripts with `if __name__ == "__main__"` of the folder, or if it has none of those in it; relative paths."""
    own = [path for path in _python_files(folder) if _is_started(path)]
    if not own:
        inner = [one for one in sorted(_entries(folder)) if one.is_dir() and not one.name.startswith((".", "_"))]
        inner = [one for one in inner if one.name not in _SKIPPED_FOLDERS and not (one / "pyvenv.cfg").exists()]
        files = itertools.chain.from_iterable(_python_files(one) for one in inner)
        own = [path for path in itertools.islice(files, _MAX_FILES) if _is_started(path)]
    return [path.relative_to(folder) for path in own]


def _python_files(folder: Path) -> list[Path]:
    files = [one for one in _entries(folder) if one.name.endswith(".py") and not _SKIPPED.fullmatch(one.name)]
    return sorted(one for one in files[:_MAX_FILES] if one.is_file())


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]  # noqa: PTH208 - names alone
    except OSError:
        return []


def _is_started(path: Path) -> bool:
    """Whether it looks at `__name__` at its top level."""
    try:
        tree = read_script(path).tree
    except PipelineFileError:
        return False
    return any(
        isinstance(one, ast.If)
        and any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(one.test))
        for one in tree.body
    )
