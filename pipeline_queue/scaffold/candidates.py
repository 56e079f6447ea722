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
    """Scripts that could be meant, as relative paths: those with `if __name__ == "__main__"` of the folder, else those
    that read a command line, else the same of the folders in it."""
    own = _python_files(folder)
    inner = [one for one in sorted(_entries(folder)) if one.is_dir() and not one.name.startswith((".", "_"))]
    inner = [one for one in inner if one.name not in _SKIPPED_FOLDERS and not (one / "pyvenv.cfg").exists()]
    files = itertools.chain.from_iterable(_python_files(one) for one in inner)
    for paths in (own, list(itertools.islice(files, _MAX_FILES))):
        trees = {path: tree for path in paths if (tree := _tree(path)) is not None}
        for is_meant in (_looks_at_its_name, _reads_a_command_line):
            found = [path.relative_to(folder) for path, tree in trees.items() if is_meant(tree)]
            if found:
                return found
    return []


def _python_files(folder: Path) -> list[Path]:
    files = [one for one in _entries(folder) if one.name.endswith(".py") and not _SKIPPED.fullmatch(one.name)]
    return sorted(one for one in files[:_MAX_FILES] if one.is_file())


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]  # noqa: PTH208 - names alone
    except OSError:
        return []


def _tree(path: Path) -> ast.Module | None:
    try:
        return read_script(path).tree
    except PipelineFileError:
        return None


def _looks_at_its_name(tree: ast.Module) -> bool:
    tests = [one.test for one in tree.body if isinstance(one, ast.If)]
    return any(isinstance(part, ast.Name) and part.id == "__name__" for test in tests for part in ast.walk(test))


def _reads_a_command_line(tree: ast.Module) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr in ("argv", "parse_args", "parse_known_args")
               for statement in tree.body if not isinstance(statement, (ast.FunctionDef, ast.ClassDef))
               for one in ast.walk(statement))  # fmt: skip
