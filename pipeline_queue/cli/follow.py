"""`status --follow`: what `status` shows, shown again until everything in it has ended."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline_queue.cli.connection import is_local, reading
from pipeline_queue.cli.display import plain
from pipeline_queue.cli.printing import echo, echo_json, one_line
from pipeline_queue.cli.sweep_display import change_line
from pipeline_queue.client import Client, Event
from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.states import ENDED
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, SweepReport

Report = RunRecord | SweepReport

_POLL_SECONDS = 0.5
_LEFT = 130


@dataclass(frozen=True, slots=True)
class Look:
    """What is followed, at one moment; `show` prints it as `status` does."""

    reports: Sequence[Report]
    show: Callable[[], None]


def follow(look: Callable[[Client], Look], as_json: bool) -> int:
    """Shows everything that `look` reports until it has ended, and returns the exit code.

    The exit code is 0 if all runs unfinished at the first look (or, if there were none, all runs shown) succeeded;
    1 if not; 130 after Ctrl-C. Raises what `look` raises.
    """
    try:
        if sys.stdout.isatty() and not as_json:
            last, begun = _follow_live(look)
        else:
            last, begun = _follow_plain(look, as_json)
    except KeyboardInterrupt:
        echo("\nstopped watching; unfinished runs continue", err=True)
        return _LEFT
    return int(any(report.state != "succeeded" for report in last.reports if not begun or name_of(report) in begun))


def name_of(report: Report) -> str:
    """Its id."""
    return report.sweep if isinstance(report, SweepReport) else report.run


def has_ended(report: Report) -> bool:
    return report.state in (ENDED_SWEEP if isinstance(report, SweepReport) else ENDED)


def _looks(look: Callable[[Client], Look]) -> Iterator[Look]:
    """One look after another, the last when everything has ended.

    The embedded service may end meanwhile, or be started by another command: then it is looked up again.
    """
    with ExitStack() as stack:
        client = stack.enter_context(reading())
        while True:
            try:
                seen = look(client)
            except BrokerError:
                if not is_local():
                    raise
                client = _looked_up(stack)
                seen = look(client)
            yield seen
            if all(map(has_ended, seen.reports)):
                return
            if is_local() and not client.is_served():
                client = _looked_up(stack)
            time.sleep(_POLL_SECONDS)


def _looked_up(stack: ExitStack) -> Client:
    stack.close()
    with redirect_stderr(io.StringIO()):  # which folder that is has been said
        return stack.enter_context(reading())


def _follow_live(look: Callable[[Client], Look]) -> tuple[Look, frozenset[str]]:
    """Redraws the screen and leaves the last one there. Returns the last look, and what was unfinished at the first."""
    begun: frozenset[str] | None = None
    screen = Console(highlight=False)
    with Live(console=screen, transient=True, auto_refresh=False) as live:
        for seen in _looks(look):
            begun = _unended(seen) if begun is None else begun
            live.update(_as_printed(seen.show), refresh=True)
    seen.show()
    return seen, begun or frozenset()


class _Page(io.StringIO):
    """Takes what is printed for a terminal."""

    def isatty(self) -> bool:
        return True


def _as_printed(show: Callable[[], None]) -> Text:
    page = _Page()
    with redirect_stdout(page), redirect_stderr(page):
        show()
    return Text.from_ansi(page.getvalue())


def _follow_plain(look: Callable[[Client], Look], as_json: bool) -> tuple[Look, frozenset[str]]:
    """One line for each change; as JSON, one object."""
    begun: frozenset[str] | None = None
    known: dict[str, str] = {}
    for seen in _looks(look):
        begun = _unended(seen) if begun is None else begun
        for report in seen.reports:
            changed = [(key, line) for key, line in _lines(report) if known.get(key) != line]
            known.update(changed)
            if changed and as_json:
                data = report.as_json() if isinstance(report, SweepReport) else report.model_dump(mode="json")
                echo_json(json.dumps(data))
            elif changed:
                echo("\n".join(line for _, line in changed))
        sys.stdout.flush()
    return seen, begun or frozenset()


def _unended(look: Look) -> frozenset[str]:
    return frozenset(name_of(report) for report in look.reports if not has_ended(report))


def _lines(report: Report) -> list[tuple[str, str]]:
    """Pairs of what changed and the line that says so; a run's own state comes last when it has ended."""
    if isinstance(report, SweepReport):
        return [(report.sweep, f"{one_line(report.name)} {change_line(report)}")]
    steps = [
        (f"{report.run} {step.name}", plain(Event(report.run, step.name, step.state, step.attempts, step.seconds)))
        for step in report.steps
    ]
    own = (report.run, f"{report.run} {report.state}")
    return [*steps, own] if report.state in ENDED else [own, *steps]
