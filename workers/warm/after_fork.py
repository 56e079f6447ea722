"""What every process has of its own, and a fork would share: random numbers, keys, remembered folders and times."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any


def make_fresh() -> None:
    """`random` and the standard library's locks look after themselves when a process is forked."""
    for name, renew in _RENEWALS.items():
        module = sys.modules.get(name)
        if module is not None:
            renew(module)


def _seed(module: Any) -> None:
    module.seed()


def _logging(module: Any) -> None:
    # In nanoseconds since Python 3.13.
    module._startTime = time.time_ns() if isinstance(module._startTime, int) else time.time()


def _threading(module: Any) -> None:
    module.main_thread()._set_native_id()


def _tempfile(module: Any) -> None:
    module.tempdir = None


def _multiprocessing(module: Any) -> None:
    module.current_process().authkey = os.urandom(32)
    module.ORIGINAL_DIR = os.getcwd()  # noqa: PTH109 - as it is set there


def _readline(module: Any) -> None:
    """By C alone it exports the size of a terminal, and catches the signal of its change."""
    for name in (b"LINES", b"COLUMNS"):
        if name not in os.environb:
            os.unsetenv(name)
    signal.signal(signal.SIGWINCH, signal.getsignal(signal.SIGWINCH))


_RENEWALS: dict[str, Callable[[Any], None]] = {
    "numpy.random": _seed,
    "torch": _seed,
    "logging": _logging,
    "threading": _threading,
    "tempfile": _tempfile,
    "multiprocessing.process": _multiprocessing,
    "readline": _readline,
}
