"""Finds a step's program among the files of the pipeline's folder."""

from __future__ import annotations

import codecs
import itertools
import os
import posixpath
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline_queue.loading.project_paths import find_project_path, find_project_path_in_script
from pipeline_queue.loading.shell_words import SHELLS
from pipeline_queue.model.problems import listed, near, quoted
from pipeline_queue.storage.snapshot import IGNORE_FILE, is_left_out

# A folder may hold a whole data set; a did-you-mean need not look at all of it.
_MAX_FOLDERS = 50
_MAX_SCRIPTS = 200
# Resolving a path takes time quadratic in its length.
_MAX_PATH_CHARACTERS = 1_024
_SCRIPT_ENDINGS = (".sh", ".bash", ".zsh", ".pl", ".rb", ".R", ".jl", ".js", ".lua", ".php", ".exe", ".bin")
_INTERPRETERS = {".R": "Rscript", ".pl": "perl", ".rb": "ruby", ".jl": "julia", ".js": "node", ".lua": "lua"}
_INTERPRETERS |= {".php": "php", ".bash": "bash", ".zsh": "zsh"}
_PYTHON = re.compile(r"python[0-9.]*")
_STARTED = re.compile(r"(?:^|[;&|(`]|\$\()[ \t]*(?P<program>\./[A-Za-z0-9_./-]{1,200})", re.MULTILINE)
_HEAD_BYTES = 4_096
_RUN_HINT = "`run: [python, gen.py]` runs a script that an earlier step makes"


@dataclass(frozen=True, slots=True)
class Found:
    """The program's word as a step starts it; `python` says that it is a script of the folder.

    `hint` belongs to the problem or the warning. `is_elsewhere`: neither the folder nor this machine's PATH has it.
    """

    program: str
    python: bool = False
    problem: str = ""
    hint: str = ""
    warning: str = ""
    is_elsewhere: bool = False


class Programs:
    """The programs of one pipeline's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, program: str, made_before: bool = False, own_path: bool = False) -> Found:
        """`made_before`: whether an earlier step may make the file. `own_path`: whether the step sets its own PATH."""
        found = self._find(program, made_before)
        if own_path and found.is_elsewhere:
            return Found(program)
        path = posixpath.normpath(found.program)
        is_inside = found.python or ("/" in found.program and not path.startswith(("/", "../")))
        if found.problem or not is_inside or made_before or not is_left_out(self._folder, path):
            return found
        hint = (
            f"virtual environments and what {IGNORE_FILE} names are not copied: write its absolute path, or include it"
        )
        return Found(program, problem=f"{quoted(program)} is not copied for steps", hint=hint)

    def find_project_path(self, text: str) -> tuple[str, str] | None:
        """A message and a hint for a word that leads out of the folder or to the live project."""
        return find_project_path(text, self._folder)

    def find_project_path_in_script(self, script: str) -> tuple[int, str, str] | None:
        """The offset of the first path into the live project, a message and a hint."""
        return find_project_path_in_script(script, self._folder)

    def _find(self, program: str, made_before: bool) -> Found:
        words = program.split()
        if len(words) > 1 and self.missing(program)[0]:
            hint = (
                f"write [{', '.join(words)}]: a list is the words of one command; write another command as another step"
            )
            text = f"{quoted(program)} is taken as the name of one program"
            if program.endswith(".py"):
                return Found(program, problem=text, hint=hint)
            return Found(program, warning=text, hint=hint)
        if program.endswith(".py"):
            return self._find_script(program)
        if len(program) > _MAX_PATH_CHARACTERS or posixpath.isabs(program):
            return Found(program)
        return self._find_executable(program, made_before)

    def check_script(self, program: str, words: Sequence[str | None], made_before: bool = False) -> tuple[str, str]:
        """What is wrong, with a hint, with the script that a shell or Python is given; empty when nothing is.

        None stands for a word that holds a value.
        """
        name = posixpath.basename(program)
        is_shell, is_python = name in SHELLS, _PYTHON.fullmatch(name) is not None
        if not (is_shell or is_python):
            return "", ""
        at = next(
            (number for number, word in enumerate(words) if word is None or not word.startswith(("-", "+"))), None
        )
        script = None if at is None else words[at]
        options = [word for word in words[:at] if word]
        if (
            script is None
            or script.startswith("/")
            or any(option in ("-s", "-m", "-W", "-X", "-o") for option in options)
        ):
            return "", ""
        if any(re.fullmatch("-[a-z]*c", option) for option in options):
            found = next(self.check_text(script), None) if is_shell else None
            return found[1:] if found else ("", "")
        if not made_before and script.endswith((".py", *_SCRIPT_ENDINGS)) and not script.startswith("../"):
            problem, hint = self.missing(posixpath.normpath(script))
            if problem:
                return problem, hint
        if is_shell and b"\r\n" in self._head(script):
            return f"{quoted(script)} has Windows line ends, which {program} cannot read", _line_end_hint(script)
        return "", ""

    def check_text(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Where a script for a shell starts a file of the folder that the system cannot start, why, and a hint."""
        if "chmod" in text:
            return
        told: set[str] = set()
        for started in _STARTED.finditer(text):
            program = started["program"]
            found = self._find_executable(program, made_before=True) if program not in told else Found(program)
            told.add(program)
            if found.problem or found.warning:
                hint = found.hint.replace("`run: ", "`")
                yield started.start("program"), found.problem or found.warning, hint

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
            return Found(
                program, problem=problem, hint="only that folder is copied to the workers: move the script there"
            )
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

    def _find_executable(self, program: str, made_before: bool) -> Found:
        is_path = "/" in program
        try:
            mode = (self._folder / program).stat().st_mode
        except (OSError, ValueError):
            is_named = is_path or (program.endswith(_SCRIPT_ENDINGS) and shutil.which(program) is None)
            if not is_path and not is_named:
                return self._find_on_this_machine(program)
            if made_before or program.startswith("../"):
                return Found(program)
            problem, hint = self.missing(posixpath.normpath(program))
            return Found(program, warning=problem, hint=hint)
        if not stat.S_ISREG(mode):
            return Found(program) if is_path else self._find_on_this_machine(program)
        if mode & 0o111:
            return self._inspect(program if is_path else f"./{program}")
        if not is_path and shutil.which(program):
            return Found(program)  # that of the system, beside which a file has the same name
        text = f"{quoted(program)} of the pipeline's folder is not executable"
        hint = f"`chmod +x {program}`, or write `run: {self._interpreter(program)} {program}`"
        if is_path or program.endswith(_SCRIPT_ENDINGS) or self._head(program).startswith(b"#!"):
            return Found(program, problem=text, hint=hint)
        return Found(program, warning=f"{text}, so the workers look for a program of that name", hint=hint)

    def _find_on_this_machine(self, program: str) -> Found:
        """A program that is no file of the folder; a step finds the programs beside its Python, too."""
        path = f"{posixpath.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        if not program or shutil.which(program, path=path):
            return Found(program)
        beside = [name for name in (f"{program}.py", f"{program}.sh") if os.path.isfile(self._folder / name)]  # noqa: PTH113
        if os.path.isdir(self._folder / program):  # noqa: PTH112 - never raises
            hint = f"{program} is a folder: `run: python -m {program}` runs a package"
        else:
            hint = f"did you mean {beside[0]!r}?" if beside else "it must be installed on the workers"
        warning = f"program {quoted(program)} not found on this machine"
        return Found(program, warning=warning, hint=hint, is_elsewhere=True)

    def _inspect(self, program: str) -> Found:
        """An executable file of the folder, with what would keep the system from starting it."""
        head = self._head(program)
        shown = quoted(program)
        if head.startswith(codecs.BOM_UTF8 + b"#!"):
            hint = f"remove it: `sed -i '1s/^\\xef\\xbb\\xbf//' {program}`"
            return Found(program, problem=f"{shown} begins with a byte order mark, before its `#!`", hint=hint)
        if not head.startswith(b"#!"):
            if head[:4] == b"\x7fELF" or b"\0" in head:
                return Found(program)
            hint = f"begin it with a line such as `#!/bin/sh`, or write `run: sh {program}`"
            return Found(program, warning=f"{shown} does not begin with `#!`, so the system cannot start it", hint=hint)
        first, newline, _ = head.partition(b"\n")
        if newline and first.endswith(b"\r"):
            problem = f"{shown} has Windows line ends: the system finds no interpreter called {_shown(first[2:])}"
            return Found(program, problem=problem, hint=_line_end_hint(program))
        words = first[2:].decode(errors="replace").split()
        name = _interpreter_in(words)
        if name and not name.startswith("-") and shutil.which(name) is None:
            warning = f"{shown} needs the interpreter {quoted(name)}, which is not on this machine"
            return Found(program, warning=warning, hint="it must be installed on the workers")
        return Found(program)

    def _interpreter(self, program: str) -> str:
        """What would read this file of the folder."""
        head = self._head(program)
        if head.startswith(b"#!"):
            name = _interpreter_in(head.partition(b"\n")[0][2:].decode(errors="replace").split())
            return posixpath.basename(name) or "sh"
        return _INTERPRETERS.get(posixpath.splitext(program)[1], "sh")

    def _head(self, path: str) -> bytes:
        """The first bytes of a file of the folder; empty when it cannot be read."""
        try:
            if len(path) > _MAX_PATH_CHARACTERS or not os.path.isfile(self._folder / path):  # noqa: PTH113 - never raises
                return b""
            with (self._folder / path).open("rb") as file:
                return file.read(_HEAD_BYTES)
        except (OSError, ValueError):
            return b""

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


def _interpreter_in(words: Sequence[str]) -> str:
    """The program that the words behind `#!` name."""
    if words and posixpath.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words else ""


def _shown(name: bytes) -> str:
    return repr(name.decode(errors="replace"))


def _line_end_hint(script: str) -> str:
    return f"convert it: `sed -i 's/\\r$//' {script}`"
