"""The log file of one step: byte-exact up to a limit, and never a reason to stop."""

from __future__ import annotations

import contextlib
import os

_FLAGS = os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
# A FIFO in the log's place must not block the supervisor; regular files ignore the flag.
_OPEN_FLAGS = _FLAGS | os.O_NONBLOCK


_MAX_PENDING_BYTES = 1024 * 1024


class StepLog:
    """Appends what a step prints; counts what the limit or a failing disk made it drop.

    What cannot be written is kept, up to 1 MiB, and written with what comes next, or by the worker at the end: nothing
    here waits for a disk.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        """Raises OSError when the file cannot be opened."""
        self._path = path.encode("utf-8", "surrogateescape")
        self._descriptor = os.open(self._path, _OPEN_FLAGS, 0o644)
        self._limit_bytes = limit_bytes
        self._pending = b""
        self._is_failing = False
        self._over_limit_bytes = 0
        self._failed_bytes = 0
        self._failure = ""
        self.written_bytes = 0

    @property
    def dropped_bytes(self) -> int:
        return self._over_limit_bytes + self._failed_bytes

    def append(self, data: bytes) -> None:
        room = max(0, self._limit_bytes - self.written_bytes - len(self._pending) - self._failed_bytes)
        if room < len(data):
            self._over_limit_bytes += len(data) - room
            data = data[:room]
        self._pending += data
        self._write()
        self._drop(_MAX_PENDING_BYTES)

    def close(self) -> bytes:
        """Say at the end of the file what is missing from it, and close it; what could not be written to it."""
        self._write()
        # Whoever is handed what is left writes it, with these after it.
        written_bytes = self.written_bytes + len(self._pending)
        self._pending += self._notes()
        self._write()
        self.written_bytes = written_bytes
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        return self._pending

    def _notes(self) -> bytes:
        notes = []
        if self._over_limit_bytes:
            limit, over = self._limit_bytes, self._over_limit_bytes
            notes.append(f"the log reached its limit of {limit} bytes; {over} bytes were dropped")
        if self._failed_bytes:
            notes.append(f"{self._failed_bytes} bytes could not be written: {self._failure}")
        return "".join(f"\n[pipeline_queue: {note}]\n" for note in notes).encode()

    def _write(self) -> None:
        """As much of what waits as the disk takes now."""
        if self._is_failing and self._pending:
            self._open_again()
        while self._pending:
            try:
                count = os.write(self._descriptor, self._pending)
            except OSError as error:
                self._failure = error.strerror or str(error)
                self._is_failing = True
                return
            self.written_bytes += count
            self._pending = self._pending[count:]
        self._is_failing = False

    def _open_again(self) -> None:
        """After a server's restart the descriptor may be stale for good."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, _OPEN_FLAGS & ~os.O_CREAT)
            os.close(self._descriptor)
            self._descriptor = descriptor

    def _drop(self, most_bytes: int) -> None:
        """The newest of what waits, but so many bytes."""
        self._failed_bytes += max(0, len(self._pending) - most_bytes)
        self._pending = self._pending[:most_bytes]
