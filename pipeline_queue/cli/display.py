"""Prints runs for people: progress on a terminal, plain lines in a pipe, tables that fit."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from pipeline_queue.cli.printing import harmless, one_line
from pipeline_queue.client import Client, Event
from pipeline_queue.contract.records import RunRecord, StepSummary
from pipeline_queue.contract.wording import counted
from pipeline_queue.storage.addresses import has_files, list_files

if TYPE_CHECKING:
    from rich.spinner import Spinner

    from pipeline_queue.reporting.explain import Explanation

STATE_COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "waiting": "blue",
    "retrying": "magenta",
    "skipped": "dim",
}
_MAX_LINE_CHARACTERS = 200
_SIGNS = {"succeeded": "✓", "failed": "✗", "cancelled": "■", "retrying": "↻", "skipped": "–"}


def console() -> Console:
    """Standard output; wide when it is not a terminal, so that nothing is cut in a pipe."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def watch(client: Client, run: str) -> RunRecord:
    """Shows the run on standard error until it has ended."""
    if sys.stderr.isatty():
        return _watch_live(client, run)
    for event in client.events(run):
        print(plain(event), file=sys.stderr, flush=True)
    return client.run(run)


def plain(event: Event) -> str:
    """One line for one change."""
    if event.step is None:
        return f"{event.run} {event.state}"
    seconds = f" after {event.seconds:.1f} s" if event.seconds is not None and event.state != "running" else ""
    attempt = f" (attempt {event.attempts})" if event.attempts > 1 else ""
    return f"{event.run} {event.step} {event.state}{seconds}{attempt}"


def _watch_live(client: Client, run: str) -> RunRecord:
    # Imported here: no other command needs them, and they are slow to import on a busy machine.
    from rich.live import Live
    from rich.spinner import Spinner

    begun: dict[str, float] = {}
    spinner = Spinner("dots")
    with Live(console=Console(stderr=True, highlight=False), refresh_per_second=10, transient=True) as live:
        for event in _ticking(client, run):
            for step in event.steps:
                if step.state == "running":
                    begun.setdefault(f"{step.name} {step.attempts}", time.monotonic())
            live.update(_steps(event, begun, spinner))
            if event.state in ("succeeded", "failed", "cancelled"):
                return event
    return client.run(run)


def _ticking(client: Client, run: str) -> Iterable[RunRecord]:
    while True:
        yield client.run(run)
        time.sleep(0.1)


def _steps(report: RunRecord, begun: dict[str, float], spinner: Spinner) -> Table:
    table = Table.grid(padding=(0, 1))
    done = sum(step.state == "succeeded" for step in report.steps)
    table.add_row(
        spinner, safe_text(f"{report.run}  {report.state}  {done}/{counted(len(report.steps), 'step')}", style="bold")
    )
    for step in report.steps:
        since = begun.get(f"{step.name} {step.attempts}")
        seconds = time.monotonic() - since if step.state == "running" and since else step.seconds
        colour = STATE_COLOURS.get(step.state, "")
        sign = spinner if step.state == "running" else safe_text(_SIGNS.get(step.state, "·"), style=colour)
        attempt = f" attempt {step.attempts}" if step.attempts > 1 else ""
        took = f"{seconds:.1f} s" if seconds is not None else ""
        table.add_row(
            sign, safe_text(f"{step.name}{attempt}", style=colour), safe_text(took, style="dim", justify="right")
        )
    return table


def print_report(report: RunRecord) -> None:
    """One run: its values, steps, metrics, and where everything lies."""
    out = console()
    out.print(Text.assemble("run ", (report.run, "bold"), " ", coloured(report.state)))
    if report.parameters:
        out.print(safe_text("  " + "  ".join(f"{name}={short(value)}" for name, value in report.parameters.items())))
    table = Table(box=None, padding=(0, 2, 0, 1), header_style="dim")
    for name in ("step", "state", "attempts", "seconds", "outputs"):
        table.add_column(name, justify="right" if name in ("attempts", "seconds") else "left", no_wrap=True)
    files = {step.name: _count_files(step) for step in report.steps}
    for step in report.steps:
        table.add_row(
            step.name, coloured(step.state), str(step.attempts or ""), _seconds(step), str(files[step.name] or "")
        )
    out.print(table)
    if report.metrics:
        out.print(safe_text("metrics  " + "  ".join(f"{name}={value:g}" for name, value in report.metrics.items())))
    for step in report.steps:
        if files[step.name]:
            out.print(safe_text(f"outputs of {step.name}: {step.outputs}"), soft_wrap=True)
    _print_remarks(report, out)
    _print_failures(report)


def _print_remarks(report: RunRecord, out: Console) -> None:
    """The notes on its steps, and where the files of failed steps are."""
    for step in report.steps:
        for note in step.notes:
            out.print(safe_text(f"note on {step.name}: {note}"), soft_wrap=True)
        if step.kept and has_files(step.kept):  # it is removed after some days
            out.print(safe_text(f"files left by {step.name}: {step.kept}"), soft_wrap=True)


def _print_failures(report: RunRecord) -> None:
    """Prints why the run failed, on standard error."""
    err = Console(stderr=True, highlight=False)
    failed = [step for step in report.steps if step.state == "failed" and step.message]
    for step in failed:
        err.print(safe_text(_with_short_lines(step.message), style="red"), soft_wrap=True)
        if step.log:
            err.print(safe_text(f"full log: {step.log}"), soft_wrap=True)
    if report.message and not failed:
        err.print(safe_text(_with_short_lines(report.message)), soft_wrap=True)


def _with_short_lines(message: str) -> str:
    """Cuts long lines of a log's end, which the log itself has in full. The first line is ours."""
    return "\n".join(
        line if number == 0 or len(line) <= _MAX_LINE_CHARACTERS
        else f"{line[:_MAX_LINE_CHARACTERS]}… (+{counted(len(line) - _MAX_LINE_CHARACTERS, 'character')})"
        for number, line in enumerate(message.split("\n"))
    )  # fmt: skip


def print_explanation(told: Explanation) -> None:
    """Why a step was executed or reused, and a table of what differs from the nearest run."""
    out = console()
    by = f" (attempt {told.attempts})" if told.decision == "executed" and told.attempts else ""
    by = f" from {told.executed_by}" if told.decision == "reused" else by
    out.print(Text.assemble(f"step {told.step} of ", (told.run, "bold"), f": {told.decision}{by}"), soft_wrap=True)
    out.print(safe_text(f"because  {told.because}"), soft_wrap=True)
    out.print(safe_text(f"reuse    {told.reuse}, identity {told.identity}"))
    if told.compared is None:
        out.print(safe_text("not compared: no similar run has this step"))
    elif not told.compared.differences:
        out.print(safe_text(f"same identity as in {told.compared.run}"))
    else:
        out.print(safe_text(f"compared with {told.compared.run}:"))
        rows = [[one.step, one.component, one.here, one.there] for one in told.compared.differences]
        print_table(["step", "differs in", "here", "there"], rows)


def print_table(columns: list[str], rows: Iterable[list[str]]) -> None:
    """A plain table of texts."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(safe_text(one_line(cell)) for cell in row))
    console().print(table)


def cell(value: object, missing: str = "-") -> str:
    """A value as a table shows it."""
    return missing if value is None else short(value)


def _count_files(step: StepSummary) -> int:
    """How many files and links the step has published."""
    return len(list_files(step.outputs)) if step.outputs else 0


def safe_text(content: str, style: str = "", justify: JustifyMethod | None = None) -> Text:
    """A text without control characters, whatever a log, a name or a value holds."""
    return Text(harmless(content), style=style, justify=justify)


def coloured(state: str) -> Text:
    return safe_text(state, style=STATE_COLOURS.get(state, ""))


def short(value: object) -> str:
    from pipeline_queue.model.parameters import text_of

    text = text_of(value)  # type: ignore[arg-type]
    shown = text if len(text) <= 40 else f"{text[:39]}…"
    return repr(shown) if not shown or not shown.isprintable() or " " in shown else shown


def _seconds(step: StepSummary) -> str:
    if step.seconds is None:
        return ""
    return f"{step.seconds:.2f}" if step.seconds >= 1 else f"{step.seconds:.3g}"
