"""A small disk of a lab: a tmpfs that can be filled, in bytes or in inodes, and emptied again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

SIZE_BYTES = 64 * 1024 * 1024
INODES = 20_000
_FILLER = ".filler"


def missing() -> str:
    """Why there can be no such disk here, empty when there can."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "only root may mount a small file system"
    return ""


def mount(folder: Path) -> None:
    options = f"size={SIZE_BYTES},nr_inodes={INODES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "pqf", str(folder)], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def fill_bytes(folder: Path) -> None:
    """Until not one more byte fits."""
    filler = folder / _FILLER
    filler.mkdir(exist_ok=True)
    for number, chunk in enumerate((1024 * 1024, 4096, 1)):
        with contextlib.suppress(OSError), (filler / f"bytes-{number}").open("ab", buffering=0) as file:
            while file.write(b"\0" * chunk) == chunk:
                pass


def fill_inodes(folder: Path) -> None:
    """Until not one more file can be made."""
    filler = folder / _FILLER
    with contextlib.suppress(OSError):
        filler.mkdir(exist_ok=True)
        for number in range(INODES):
            (filler / str(number)).touch()


def empty(folder: Path) -> None:
    shutil.rmtree(folder / _FILLER, ignore_errors=True)
