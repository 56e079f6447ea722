"""A small file system of its own, that can be filled and freed: bytes or inodes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_FILLER = "filler"


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / _FILLER

    def fill_bytes(self) -> None:
        with suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 65536):
                pass
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(b"x"):
                pass

    def fill_inodes(self) -> None:
        self._filler.mkdir()
        with suppress(OSError):
            for number in range(10**6):
                (self._filler / str(number)).touch()

    def free(self) -> None:
        if self._filler.is_dir():
            for path in self._filler.iterdir():
                path.unlink()
            self._filler.rmdir()
        else:
            self._filler.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, size: str = "16m", inodes: int = 2000) -> Iterator[SmallDisk]:
    """Skips the test where nothing may be mounted."""
    folder.mkdir(parents=True)
    options = f"size={size},nr_inodes={inodes},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"mount cannot be run here: {error}")
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    disk = SmallDisk(folder)
    try:
        yield disk
    finally:
        with suppress(subprocess.CalledProcessError):
            disk.unmount()
