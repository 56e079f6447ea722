"""The log file of one step: byte-exact up to a limit, and never a reason to stop."""

from __future__ import annotations

import contextlib
import os

_FLAGS = os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
# A FIFO in the log's place must not block the supervisor; regular files ignore the flag.
_OPEN_FLAGS = _FLAGS | os.O_NONBLOCK


class StepLog:
    """Appends what a step prints; counts what the limit or a failing disk made it drop."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        """Raises OSError when the file cannot be opened."""
        self._descriptor = os.open(path.encode("utf-8", "surrogateescape"), _OPEN_FLAGS, 0o644)
        self._limit_bytes = limit_bytes
        self._over_limit_bytes = 0
        self._failed_bytes = 0
        self._failure = ""
        self.written_bytes = 0

    @property
    def dropped_bytes(self) -> int:
        return self._over_limit_bytes + self._failed_bytes

    def append(self, data: bytes) -> None:
        room = max(0, self._limit_bytes - self.written_bytes)
        if room < len(data):
            self._over_limit_bytes += len(data) - room
            data = data[:room]
        while data:
            try:
                count = os.write(self._descriptor, data)
            except OSError as error:
                self._failed_bytes += len(data)
                self._failure = error.strerror or str(error)
                return
            self.written_bytes += count
            data = data[count:]

    def close(self) -> None:
        """Say at the end of the file what is missing from it, and close it."""
        with contextlib.suppress(OSError):
            if self._over_limit_bytes:
                self._note(
                    f"the log reached its limit of {self._limit_bytes} bytes; "
                    f"{self._over_limit_bytes} bytes were dropped"
                )
            if self._failed_bytes:
                self._note(f"{self._failed_bytes} bytes could not be written: {self._failure}")
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _note(self, text: str) -> None:
        os.write(self._descriptor, f"\n[pipeline_queue: {text}]\n".encode())
