"""No press of Ctrl-C is lost, whatever the command is doing just then."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipeline_queue.cli import interrupts
from pipeline_queue.cli.interrupts import Cancelling, interruptible, submission_told_of
from tests.conftest import GENEROUS_SECONDS


class Watched:
    """A run that is watched until Ctrl-C is pressed, and what is asked of it afterwards."""

    def __init__(self, request: Callable[[], None] = lambda: None, wait: Callable[[], None] = lambda: None) -> None:
        self.asked: list[str] = []
        self._cancelling = Cancelling(
            disconnect=lambda: self.asked.append("disconnect"),
            request=self._noted("request", request),
            wait=self._noted("wait", wait),
        )

    def interrupt(self, again_seconds: float = 0.0, block: Callable[[], None] = lambda: None) -> None:
        """Watches and presses; `block` comes between."""
        with pytest.raises(SystemExit) as left, interruptible("a-run", self._cancelling, again_seconds):
            block()
            press()
            time.sleep(60)
        assert left.value.code == 130

    def _noted(self, name: str, then: Callable[[], None]) -> Callable[[], None]:
        def ask() -> None:
            self.asked.append(name)
            then()

        return ask


def press() -> None:
    signal.raise_signal(signal.SIGINT)


@contextmanager
def _press_at_line(number: int) -> Iterator[list[str]]:
    """Presses before that line, counted from the first that answers a press; yields what it pressed at."""
    pressed: list[str] = []
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if frame.f_code.co_filename != interrupts.__file__:
            return None
        if event == "line" and _presses() == 1 and not pressed:
            if seen == number:
                pressed.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
                press()
            seen += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield pressed
    finally:
        sys.settrace(before)


def _presses() -> int:
    """How many have been counted so far; 0 while nobody counts."""
    counter = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return getattr(counter, "count", 0)


def test_a_second_press_cancels_at_whichever_line_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    cancelled: list[str] = []
    for number in count():
        watched = Watched()
        with _press_at_line(number) as pressed:
            watched.interrupt(again_seconds=0.01)
        said = capsys.readouterr().err
        if not pressed:
            break
        # After the time in which it cancels, it changes nothing.
        if watched.asked:
            cancelled += pressed
            assert watched.asked == ["disconnect", "request", "wait"], pressed
            assert "a-run is cancelled" in said, pressed
        else:
            assert pressed[0].startswith(("is_pressed_within", "interruptible", "counted")), pressed
    lines = {line.partition(":")[0] for line in cancelled}
    assert {"_press", "disarm", "interruptible", "is_pressed_within"} <= lines


def test_one_press_leaves_it_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched()
    watched.interrupt()
    said = capsys.readouterr().err
    assert "Ctrl-C stops watching, Ctrl-C twice cancels it" in said
    assert "a-run continues (pipeline-queue status a-run); Ctrl-C again within 0 s cancels it" in said
    assert watched.asked == []


def test_a_third_press_neither_breaks_off_the_request_nor_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    requested: list[bool] = []

    def request() -> None:
        press()
        requested.append(True)

    watched = Watched(request, wait=lambda: time.sleep(60))
    with _press_at_line(0):
        watched.interrupt(again_seconds=60)
    assert requested == [True]
    assert watched.asked == ["disconnect", "request"]
    assert "a-run is being cancelled; pipeline-queue status a-run shows when" in capsys.readouterr().err


def test_a_third_press_ends_the_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    def wait() -> None:
        press()
        time.sleep(60)

    watched = Watched(wait=wait)
    with _press_at_line(0):
        watched.interrupt(again_seconds=60)
    assert watched.asked == ["disconnect", "request", "wait"]
    assert "a-run is being cancelled" in capsys.readouterr().err


def test_a_press_that_python_swallows_does_not_make_the_next_one_vanish(capsys: pytest.CaptureFixture[str]) -> None:
    def swallow() -> None:
        with pytest.raises(KeyboardInterrupt):
            press()

    watched = Watched()
    watched.interrupt(again_seconds=60, block=swallow)
    assert watched.asked == ["disconnect", "request", "wait"]


def test_ctrl_c_is_as_before_once_nothing_is_watched() -> None:
    before = signal.getsignal(signal.SIGINT)
    Watched().interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible("a-run", Cancelling(press, press, press)):
            press()
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_submitting_says_how_to_find_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, submission_told_of():
        press()
        time.sleep(60)
    assert left.value.code == 130
    assert "`pipeline-queue status` shows whether it was accepted" in capsys.readouterr().err


INTERRUPTED_IMPORT = """
import subprocess
import sys
from pipeline_queue import cli

def command(**_):
    try:
        exec("raise KeyboardInterrupt")  # as in the import of a module with a dataclass
    except KeyboardInterrupt:
        sys.exit(130)

cli.cli.main = command
cli.main()
"""


def test_an_interrupt_that_comes_while_a_class_is_made_leaves_the_exit_code_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_IMPORT)
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, cwd=tmp_path, timeout=GENEROUS_SECONDS, check=False)
    assert done.returncode == 130
