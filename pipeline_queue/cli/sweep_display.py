"""What a person sees of a sweep: a progress bar on a terminal, plain lines in a pipe, a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from pipeline_queue.cli.display import coloured, console, short
from pipeline_queue.client import Client
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.sweep_report import ENDED_SWEEP, SweepReport

_POLL_SECONDS = 0.2
_LINE_SECONDS = 5.0


def watch_sweep(client: Client, sweep: str) -> SweepReport:
    """Shows the sweep on standard error until it has ended."""
    return _watch_live(client, sweep) if sys.stderr.isatty() else _watch_plain(client, sweep)


def counts_line(report: SweepReport) -> str:
    """`12 succeeded, 1 failed, 3 running, 84 queued`, without the zeros."""
    order = ("succeeded", "failed", "cancelled", "running", "queued")
    return ", ".join(f"{report.counts[state]:,} {state}" for state in order if report.counts[state]) or "nothing yet"


def print_sweep(report: SweepReport) -> None:
    """Counts, rate, time left, and failures by cause with one example each."""
    out = console()
    out.print(Text.assemble("sweep ", (report.sweep, "bold"), f" {report.state}: {report.total:,} runs"))
    out.print(Text(f"  {counts_line(report)}"))
    if report.runs_per_second:
        left = f", about {_duration(report.seconds_left)} left" if report.seconds_left else ""
        out.print(Text(f"  {report.runs_per_second:.1f} runs/s{left}"))
    for cause in report.failures:
        out.print(Text(f"  {cause.count:,} x {cause.text} (for example {cause.example})", style="red"), soft_wrap=True)
    if report.state in ENDED_SWEEP:
        out.print(Text(f"  results: pipeline-queue results {report.sweep}", style="dim"))


def print_rows(reports: Iterable[RunRecord | SweepReport]) -> None:
    """One line for a run, and one for a sweep of several with its counts instead of values."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("run", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("submitted", no_wrap=True)
    table.add_column("parameters", overflow="ellipsis", no_wrap=True)
    table.add_column("metrics", overflow="ellipsis", no_wrap=True)
    for report in reports:
        if isinstance(report, SweepReport):
            name, last = report.sweep, [f"{report.total:,} runs: {counts_line(report)}", ""]
        else:
            name = report.run
            last = [
                " ".join(f"{name}={short(value)}" for name, value in report.parameters.items()),
                " ".join(f"{name}={value:g}" for name, value in report.metrics.items()),
            ]
        submitted = datetime.fromtimestamp(report.created_at).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(name, coloured(report.state), submitted, *map(Text, last))
    console().print(table)


def _watch_live(client: Client, sweep: str) -> SweepReport:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=True) as bar:
        report = client.sweep(sweep)
        task = bar.add_task(sweep, total=report.total, note="")
        while report.state not in ENDED_SWEEP:
            failed = f"{report.counts['failed']:,} failed  " if report.counts["failed"] else ""
            left = f"{_duration(report.seconds_left)} left" if report.seconds_left else ""
            bar.update(task, completed=report.done, note=failed + left)
            time.sleep(_POLL_SECONDS)
            report = client.sweep(sweep)
        return report


def _watch_plain(client: Client, sweep: str) -> SweepReport:
    shown, shown_at = "", 0.0
    while True:
        report = client.sweep(sweep)
        line = counts_line(report)
        over = report.state in ENDED_SWEEP
        if over or (line != shown and time.monotonic() - shown_at >= _LINE_SECONDS):
            print(f"{sweep} {report.state}: {line}", file=sys.stderr, flush=True)
            shown, shown_at = line, time.monotonic()
        if over:
            return report
        time.sleep(_POLL_SECONDS)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
