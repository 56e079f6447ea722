"""Machines whose clocks are wrong: libfaketime around all their processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def library() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def missing() -> str:
    """Why clocks cannot be moved here, empty when they can."""
    return "" if library() else "libfaketime is not installed (Debian: libfaketime)"


def environment(seconds: int) -> Mapping[str, str]:
    """Moves the wall clock; the clocks that only count stay true, as on a real machine."""
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME": f"{seconds:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }
