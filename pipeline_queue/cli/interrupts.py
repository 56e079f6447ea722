"""Ctrl-C while a run or sweep is watched: the first press leaves it, a second soon after cancels it; none is lost.

Left to itself, Python raises KeyboardInterrupt between any two instructions: a second press while the first is answered
would end the command without cancelling anything, a third would break off the request to cancel. Here presses are
counted, and raise only where somebody waits.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline_queue.cli.printing import echo

AGAIN_SECONDS = 3.0
_LOOK_SECONDS = 0.05
_LEFT = 130


@dataclass(frozen=True, slots=True)
class Cancelling:
    """How to cancel what is watched, in order: `request` it on a connection of its own, `wait` for the end of it.

    `wait` raises TimeoutError when that takes too long.
    """

    disconnect: Callable[[], object]
    request: Callable[[], object]
    wait: Callable[[], object]


class _Presses:
    """How often Ctrl-C was pressed. Between `arm` and `disarm` a press raises KeyboardInterrupt, else not."""

    def __init__(self) -> None:
        self.count = 0
        self._is_armed = False

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Nothing is counted where Ctrl-C was to be ignored from the start (a shell's `&`)."""
        before = signal.getsignal(signal.SIGINT)
        if before is signal.SIG_IGN:
            yield
            return
        signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def arm(self, after: int) -> None:
        """Raises KeyboardInterrupt at once if there were more than `after` before."""
        self._is_armed = True
        if self.count > after:
            raise KeyboardInterrupt

    def disarm(self) -> None:
        self._is_armed = False

    def is_pressed_within(self, seconds: float, after: int) -> bool:
        """Waits for a press; whether there have been more than `after`."""
        until = time.monotonic() + seconds
        while self.count <= after and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return self.count > after

    def _press(self, *_: object) -> None:
        self.count += 1
        # Each one: where Python cannot pass an exception on (in a `__del__`), it drops it.
        if self._is_armed:
            raise KeyboardInterrupt


@contextmanager
def interruptible(name: str, cancelling: Cancelling, again_seconds: float = AGAIN_SECONDS) -> Iterator[None]:
    """Ctrl-C ends the watching in the block, whoever executes what is watched. Says so before and then.

    Ctrl-C again within `again_seconds` cancels it. Either way the command exits with 130.
    """
    presses = _Presses()
    with presses.counted():
        try:
            try:
                presses.arm(after=0)
                echo(f"{name} accepted (Ctrl-C stops watching, Ctrl-C twice cancels it)", err=True)
                yield
                return
            finally:
                presses.disarm()
        except KeyboardInterrupt:
            presses.disarm()  # the next press may have come just before the other one
        echo(
            f"\n{name} continues (pipeline-queue status {name}); Ctrl-C again within {again_seconds:g} s cancels it",
            err=True,
        )
        if presses.is_pressed_within(again_seconds, after=1):
            _cancel(name, cancelling, presses)
    sys.exit(_LEFT)


def _cancel(name: str, cancelling: Cancelling, presses: _Presses) -> None:
    """Waits for the end of it, unless Ctrl-C is pressed once more."""
    echo(f"\ncancelling {name}", err=True)
    # The interrupt may have come between a command to the broker and its reply, which the next would take for its own.
    cancelling.disconnect()
    cancelling.request()
    try:
        try:
            presses.arm(after=2)
            cancelling.wait()
        finally:
            presses.disarm()
    except (KeyboardInterrupt, TimeoutError):
        presses.disarm()
        echo(f"\n{name} is being cancelled; pipeline-queue status {name} shows when it has ended", err=True)
    else:
        echo(f"{name} is cancelled", err=True)


@contextmanager
def submission_told_of() -> Iterator[None]:
    """Ctrl-C while a submission is under way may come before or after it is accepted: says how to find out."""
    try:
        yield
    except KeyboardInterrupt:
        echo("\ninterrupted while submitting; `pipeline-queue status` shows whether it was accepted", err=True)
        sys.exit(_LEFT)
