"""A storage that fails now and then, as over a network: a small library before libc in the processes under test."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_name("storage_errors.c")
FIELDS = (
    "seen", "failed", "first", "length", "number", "is_after", "per_million", "until_ns", "lasts_ns", "hides_until_ns",
    "is_armed",
)  # fmt: skip
_SHOWN_BYTES = 256


def missing() -> str:
    """Why the storage cannot be made to fail here, empty when it can."""
    return "" if shutil.which("cc") else "there is no C compiler to build storage_errors.c (Debian: gcc)"


def build(folder: Path) -> Path:
    """The library."""
    library = folder / "storage_errors.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


class StorageErrors:
    """What fails, for all processes that have its `environment`. `file` is made."""

    def __init__(self, file: Path, root: Path) -> None:
        self._file = file
        self._root = root
        if not file.exists():
            file.write_bytes(b"\0" * (8 * len(FIELDS) + _SHOWN_BYTES))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 0)

    def environment(self, library: Path) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(library),
            "STORAGE_ERRORS_CONTROL": str(self._file),
            "STORAGE_ERRORS_ROOT": str(self._root),
        }

    def arm(self, **fields: int) -> None:
        """From now on; what is not named is 0: `arm()` only counts. Fields as in storage_errors.c."""
        self.disarm()
        for name in FIELDS:
            self._write(name, fields.get(name, 0))
        self._write("is_armed", 1)

    def fail_for(self, seconds: float, number: int, first: int = 1) -> None:
        """Every operation from that one on, for so long."""
        self.arm(number=number, first=first, lasts_ns=int(seconds * 1e9))

    def hide_manifests_for(self, seconds: float) -> None:
        self.arm()
        self.hide_manifests_now(seconds)

    def fail_now(self, seconds: float, number: int) -> None:
        """Every operation, for so long, beside what was armed."""
        self._write("number", number)
        self._write("until_ns", time.monotonic_ns() + int(seconds * 1e9))

    def hide_manifests_now(self, seconds: float) -> None:
        """The same with manifests of published steps: they are not to be seen."""
        self._write("hides_until_ns", time.monotonic_ns() + int(seconds * 1e9))

    def disarm(self) -> None:
        self._write("is_armed", 0)

    def read(self, name: str) -> int:
        value: int = struct.unpack_from("q", self._shared, 8 * FIELDS.index(name))[0]
        return value

    def last(self) -> str:
        """The operation that was the last to fail, and its path."""
        return self._shared[8 * len(FIELDS) :].partition(b"\0")[0].decode(errors="replace")

    def _write(self, name: str, value: int) -> None:
        struct.pack_into("q", self._shared, 8 * FIELDS.index(name), value)
