"""Machines whose clocks are wrong: a small library before libc in all their processes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_name("wrong_clock.c")


def missing() -> str:
    """Why clocks cannot be moved here, empty when they can."""
    return "" if shutil.which("cc") else "there is no C compiler to build wrong_clock.c (Debian: gcc)"


def build(folder: Path) -> Path:
    """The library."""
    library = folder / "wrong_clock.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(_SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return library


def environment(library: Path, seconds: int) -> Mapping[str, str]:
    """Of a machine whose clock is wrong by so much."""
    return {"LD_PRELOAD": str(library), "FAULT_LAB_CLOCK_SECONDS": str(seconds)}
