"""An interpreter that one host alone uses, with the packages of this one, and the ways in which it stops working."""

from __future__ import annotations

import shutil
import site
import venv
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_ASIDE = "python.aside"


def make_interpreter(folder: Path) -> Path:
    """The interpreter of a new environment in that folder."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    packages = next(folder.glob("lib/python3*/site-packages"))
    lines = [f"import site; site.addsitedir({path!r})" for path in (*site.getsitepackages(), str(_ROOT))]
    (packages / "those_of_the_tests.pth").write_text("\n".join(lines))
    return folder / "bin" / "python"


def vanish(python: Path) -> None:
    python.rename(python.with_name(_ASIDE))


def exit_1(python: Path) -> None:
    _replace(python, "#!/bin/sh\nexit 1\n")


def exit_0(python: Path) -> None:
    _replace(python, "#!/bin/sh\nexit 0\n")


def lack_a_library(python: Path) -> None:
    text = "error while loading shared libraries: libpython3.so: cannot open shared object file"
    _replace(python, f"#!/bin/sh\necho '{text}' >&2\nexit 127\n")


def forbid(python: Path) -> None:
    """As on a disk that is mounted noexec."""
    _replace(python, "#!/bin/sh\nexit 0\n", mode=0o644)


WAYS: tuple[Callable[[Path], None], ...] = (vanish, exit_1, lack_a_library, forbid, exit_0)


def mend(python: Path) -> None:
    """After any of them; nothing happens to one that works."""
    aside = python.with_name(_ASIDE)
    if aside.is_symlink():
        aside.replace(python)


def _replace(python: Path, text: str, mode: int = 0o755) -> None:
    shutil.copy2(python, python.with_name(_ASIDE), follow_symlinks=False)
    other = python.with_name("other")
    other.write_text(text)
    other.chmod(mode)
    other.replace(python)
