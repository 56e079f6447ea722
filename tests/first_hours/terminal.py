"""A terminal with a shell in it: types what a person types, and shows what a person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyte
from wcwidth import wcswidth

from tests.conftest import plain_environment
from tests.limits import wait_for_end

PROMPT = "$ "
GENEROUS_SECONDS = 120.0
_MOVES = re.compile(r"\x1b\[[0-9;?]*[A-HJKSTdfhl]|\r\n|\r|\n")
_STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>]")
_HISTORY_LINES = 5_000


class Terminal:
    """One window of `columns` x `rows` with an interactive bash; closed with `close`."""

    def __init__(self, folder: Path, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.screen = pyte.HistoryScreen(columns, rows, history=_HISTORY_LINES)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self._written = bytearray()
        self._exits = folder.parent / f".exits-{os.urandom(4).hex()}"
        self._exits.touch()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=folder,
            env=self._environment(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait(lambda: len(self.exit_codes) >= 1, "the first prompt")

    def _environment(self) -> dict[str, str]:
        programs = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        # The shell notes the exit code of each command before it prints its prompt.
        noted = f"echo $? >> '{self._exits}'"
        return plain_environment(
            PATH=programs, TERM="xterm-256color", PS1=PROMPT, PROMPT_COMMAND=noted, HISTFILE="/dev/null", LANG="C.UTF-8"
        )

    def _read(self) -> None:
        while True:
            try:
                ready, _, _ = select.select([self._master], [], [], 0.5)
                data = os.read(self._master, 65536) if ready else None
            except OSError:
                return
            if data == b"":
                return
            if data:
                with self._lock:
                    self._written += data
                    self._stream.feed(data)

    @property
    def exit_codes(self) -> list[int]:
        """Those of all commands so far, after the one of the shell's start."""
        return [int(line) for line in self._exits.read_text().split()]

    def start(self, command: str) -> None:
        """Types a command and presses Enter."""
        self.press(command + "\n")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def run(self, command: str, seconds: float = GENEROUS_SECONDS) -> int:
        """The exit code of a command, once the next prompt is there."""
        before = len(self.exit_codes)
        self.start(command)
        return self.finish(before, seconds)

    def finish(self, before: int, seconds: float = GENEROUS_SECONDS) -> int:
        """Waits for the prompt after `before` exit codes; the exit code of what ended."""
        self.wait(lambda: len(self.exit_codes) > before, "the next prompt", seconds)
        self.wait(
            lambda: self.lines()[self.screen.cursor.y].startswith(PROMPT.rstrip()), "the prompt on the screen", 10
        )
        return self.exit_codes[-1]

    def wait(self, condition: Callable[[], object], what: str, seconds: float = GENEROUS_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise AssertionError(f"not within {seconds} s: {what}\n" + "\n".join(self.lines()))
            time.sleep(0.02)

    def wait_for(self, text: str, seconds: float = GENEROUS_SECONDS) -> None:
        self.wait(lambda: text in "\n".join(self.lines()), f"{text!r} on the screen", seconds)

    def lines(self) -> list[str]:
        """The window as it is now, a text per row."""
        with self._lock:
            return [line.rstrip() for line in self.screen.display]

    def scrolled(self) -> list[str]:
        """What has left the window at its top, as far as it is kept, and the window."""
        with self._lock:
            rows = [[row[column].data for column in range(self.columns)] for row in self.screen.history.top]
        return ["".join(row).rstrip() for row in rows] + self.lines()

    def mark(self) -> int:
        """A place in all that was written, for `wide_lines` and `text`."""
        with self._lock:
            return len(self._written)

    def text(self, since: int = 0) -> str:
        """What was written, without styles and movements."""
        with self._lock:
            written = bytes(self._written[since:]).decode(errors="replace")
        return _STYLES.sub("", _MOVES.sub("\n", written))

    def wide_lines(self, since: int = 0) -> list[str]:
        """Lines that were written wider than the window, so that it had to break them."""
        return [line for line in self.text(since).split("\n") if wcswidth(line) > self.columns]

    def close(self) -> None:
        """Hangs up, as closing a window does."""
        os.close(self._master)
        try:
            self._shell.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, signal.SIGKILL)
            wait_for_end(self._shell)
        self._exits.unlink(missing_ok=True)
