"""Finds a step's program among the files of the pipeline's folder."""

from __future__ import annotations

import itertools
import os
import posixpath
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline_queue.problems import listed, near, quoted

# A folder may hold a whole data set; a did-you-mean need not look at all of it.
_MAX_FOLDERS = 50
_MAX_SCRIPTS = 200
# Resolving a path takes time quadratic in its length.
_MAX_PATH_CHARACTERS = 1_024
_RUN_HINT = "`run: [python, gen.py]` runs a script that an earlier step makes"


@dataclass(frozen=True, slots=True)
class Found:
    """The program's word as a step starts it; `python` says that it is a script of the folder."""

    program: str
    python: bool = False
    problem: str = ""
    hint: str = ""


class Programs:
    """The programs of one pipeline's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, program: str) -> Found:
        if program.endswith(".py"):
            return self._find_script(program)
        if "/" not in program and self._is_executable(program):
            return Found(f"./{program}")
        return Found(program)

    def module_beside(self, script: str, name: str) -> str | None:
        """The file or package beside the script that `import` would find first, as a path in the folder."""
        beside = posixpath.dirname(script)
        for path in (posixpath.join(beside, f"{name}.py"), posixpath.join(beside, name, "__init__.py")):
            if os.path.lexists(self._folder / path):
                return path
        return None

    def missing(self, path: str) -> tuple[str, str]:
        """Why this path of the folder is not there, with a hint; empty when it is."""
        try:
            if len(path) <= _MAX_PATH_CHARACTERS and os.path.lexists(self._folder / path):
                return "", ""
            names = sorted(item.name for item in itertools.islice(self._folder.iterdir(), _MAX_SCRIPTS))
        except (OSError, ValueError):
            names = []
        nearest = near(path, names)
        return f"there is no {quoted(path)} in the pipeline's folder", f"did you mean {nearest!r}?" if nearest else ""

    def _find_script(self, program: str) -> Found:
        if len(program) > _MAX_PATH_CHARACTERS:
            problem = f"the path of the script {quoted(program)} is too long"
            return Found(program, problem=problem, hint=f"use at most {_MAX_PATH_CHARACTERS:,} characters")
        path = posixpath.normpath(program)
        if posixpath.isabs(path) or path.split("/")[0] == ".." or not self._is_inside(path):
            problem = f"the script {quoted(program)} is outside the pipeline's folder"
            return Found(program, problem=problem, hint="only that folder travels to the workers: copy it there")
        if not os.path.isfile(self._folder / path):  # noqa: PTH113 - Path.is_file raises for a name too long
            problem = f"there is no script {quoted(program)} in the pipeline's folder"
            nearest = near(path, self._scripts)
            meant = f"did you mean {nearest!r}? " if nearest else ""
            there = f"scripts there: {listed(self._scripts)}; " if self._scripts else ""
            return Found(program, problem=problem, hint=meant + there + _RUN_HINT)
        return Found(path, python=True)

    def _is_inside(self, path: str) -> bool:
        try:
            return (self._folder / path).resolve().is_relative_to(self._real_folder)
        except (OSError, RuntimeError):
            return False

    def _is_executable(self, program: str) -> bool:
        path = self._folder / program
        try:
            return path.is_file() and path.stat().st_mode & 0o111 != 0
        except OSError:
            return False

    @cached_property
    def _real_folder(self) -> Path:
        return self._folder.resolve()

    @cached_property
    def _scripts(self) -> tuple[str, ...]:
        """The Python files of the folder and of the folders in it."""
        found: list[str] = []
        try:
            for folder, folders, files in itertools.islice(os.walk(self._folder), _MAX_FOLDERS):
                inside = Path(folder).relative_to(self._folder)
                folders[:] = [name for name in folders if not name.startswith(".")] if inside == Path() else []
                names = sorted(name for name in files if name.endswith(".py"))
                found += [(inside / name).as_posix() for name in names[:_MAX_SCRIPTS]]
        except OSError:
            return ()
        return tuple(found[:_MAX_SCRIPTS])
