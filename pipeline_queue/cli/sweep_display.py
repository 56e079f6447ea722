"""Prints a sweep for people: a progress bar on a terminal, plain lines in a pipe, a summary."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import takewhile

import click
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pipeline_queue.cli.display import STATE_COLOURS, console, safe_text, short
from pipeline_queue.cli.printing import harmless, one_line, within_width
from pipeline_queue.client import Client
from pipeline_queue.contract.records import RunRecord
from pipeline_queue.contract.states import FailureGroup
from pipeline_queue.contract.wording import counted, rounded_duration
from pipeline_queue.reporting.sweeps import ENDED_SWEEP, SweepReport

_POLL_SECONDS = 0.2
_LINE_SECONDS = 5.0
_MAX_CAUSES = 10
_GAP = "  "
_MIN_OF_A_TEXT = 6
_NUMBER = re.compile(r"[-+]?\.?[0-9]|[-+]?(?:nan|inf)\b")


def watch_sweep(client: Client, sweep: str) -> SweepReport:
    """Shows the sweep on standard error until it has ended."""
    return _watch_live(client, sweep) if sys.stderr.isatty() else _watch_plain(client, sweep)


def counts_line(report: SweepReport) -> str:
    """`12 succeeded, 1 failed, 3 running, 60 waiting, 24 queued`, without the zeros. What waits is not running."""
    waiting = min(sum(report.waiting.values()), report.counts["queued"])
    counts = {**report.counts, "queued": report.counts["queued"] - waiting, "waiting": waiting}
    order = ("succeeded", "failed", "cancelled", "running", "waiting", "queued")
    return ", ".join(f"{counts[state]:,} {state}" for state in order if counts[state]) or "nothing yet"


def change_line(report: SweepReport) -> str:
    """State and counts on one line, without figures that change at every look."""
    facts = [counts_line(report), steps_line(report), activity_line(report), metric_line(report)]
    return f"{state_text(report)}: {', '.join(filter(None, facts))}"


def state_text(report: SweepReport) -> str:
    """`pausing (2 steps still executing)`, else the state."""
    still = f" ({counted(report.executing, 'step')} still executing)" if report.state == "pausing" else ""
    return f"{report.state}{still}"


def steps_line(report: SweepReport) -> str:
    """`74/121 steps, 1/60 runs`; empty when the sweep has ended."""
    if report.state in ENDED_SWEEP:
        return ""
    steps = "" if report.steps_total is None else f"{report.steps_done:,}/{counted(report.steps_total, 'step')}, "
    return f"{steps}{report.done:,}/{counted(report.total, 'run')}"


def left_text(report: SweepReport) -> str:
    """`2 min 10 s to 4 min 0 s left`, `about 3 min left`, or empty if unknown."""
    if report.seconds_left_range is None:
        return f"about {rounded_duration(report.seconds_left)} left" if report.seconds_left else ""
    least, most = map(rounded_duration, report.seconds_left_range)
    return f"about {most} left" if least == most else f"{least} to {most} left"


def activity_line(report: SweepReport) -> str:
    """`2 steps executing, 59 runs waiting for prepare`; empty when the sweep has ended."""
    if report.state in ENDED_SWEEP:
        return ""
    parts = [f"{counted(report.executing, 'step')} executing"]
    parts += [f"{counted(count, 'run')} waiting for {one_line(step)}" for step, count in report.waiting.items()]
    parts += [f"{counted(report.retrying, 'run')} waiting to be retried"] if report.retrying else []
    parts += [f"{counted(report.held, 'run')} held until `resume`"] if report.held else []
    return ", ".join(parts)


def metric_line(report: SweepReport) -> str:
    """`best accuracy 0.94 in run 7 (highest of 12)`; both ends where it is not known which is better."""
    metric = report.metric
    if metric is None:
        return ""
    name = one_line(metric.name)
    low, high = (f"{value:.6g}" for value in (metric.lowest, metric.highest))
    low_run, high_run = (f"run {run.rpartition('.')[2]}" for run in (metric.lowest_run, metric.highest_run))
    if metric.direction == "lowest":
        return f"best {name} {low} in {low_run} (lowest of {metric.runs:,})"
    if metric.direction == "highest":
        return f"best {name} {high} in {high_run} (highest of {metric.runs:,})"
    if low == high:
        return f"{name} is {low} in {counted(metric.runs, 'run')}"
    return f"{name} from {low} in {low_run} to {high} in {high_run} (of {metric.runs:,})"


def print_sweep(report: SweepReport) -> None:
    """Counts, rate, time left, and failures by cause with one example each."""
    out = console()
    named = f"{one_line(report.name)} " if report.name != report.sweep else ""
    state = f" {state_text(report)}: {counted(report.total, 'run')}"
    out.print(Text.assemble(f"sweep {named}", (report.sweep, "bold"), state))
    out.print(safe_text(f"  {counts_line(report)}"))
    if steps := steps_line(report):
        out.print(safe_text(f"  {steps}"))
    if activity := activity_line(report):
        out.print(safe_text(f"  {activity}"))
    if report.state in ("pausing", "paused"):
        out.print(safe_text(f"  no more steps start; resume it: pipeline-queue resume {report.sweep}"))
    if report.runs_per_second:
        left = f", {left_text(report)}" if left_text(report) else ""
        out.print(safe_text(f"  {report.runs_per_second:.1f} runs/s{left}"))
    elif left_text(report):
        out.print(safe_text(f"  {left_text(report)}"))
    if metric := metric_line(report):
        out.print(safe_text(f"  {metric}"))
    for line in failure_lines(report.failures):
        out.print(safe_text(within_width(harmless(line)), style="red"), soft_wrap=True)
    if report.state in ENDED_SWEEP:
        out.print(safe_text(f"  results: pipeline-queue results {report.sweep}", style="dim"))


def failure_lines(groups: Sequence[FailureGroup]) -> list[str]:
    """One line for each of the most frequent causes."""
    lines = []
    for group in groups[:_MAX_CAUSES]:
        executed = group.count - group.shared
        shared = f": {executed:,} executed, {group.shared:,} share this failure" if group.shared else ""
        own = _own_words(group)
        lines.append(f"  {group.count:,} x {group.text}{shared} (for example {group.example}{own})")
    if len(groups) > _MAX_CAUSES:
        lines.append(f"  and {counted(len(groups) - _MAX_CAUSES, 'more cause')}; --json lists them")
    return lines


def _own_words(group: FailureGroup) -> str:
    """`: 2.50 GiB were not there`, what the example says instead of the masked end of its cause; empty if nothing."""
    if group.reason in ("", group.text):
        return ""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(group.text, group.reason, strict=False)))
    return f": {group.reason[:alike].rpartition(': ')[2]}{group.reason[alike:]}"


def print_rows(reports: Sequence[RunRecord | SweepReport], now: float) -> None:
    """One line for a run, and one for a sweep of several with its counts instead of values.

    Name, state and age are always whole. What is left of a terminal's width goes to the parameters that differ between
    the runs shown, then to the metrics; elsewhere everything is printed.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    differing = _differing([report for report in reports if isinstance(report, RunRecord)])
    rows = [("run", "state", "age", ["values"])]
    rows += [(_title(one), one.state, age(now - one.created_at), _facts(one, differing)) for one in reports]
    widths = [max(map(cell_len, column)) for column in zip(*(row[:3] for row in rows), strict=True)]
    for row in rows:
        fixed = [text + " " * (size - cell_len(text)) for text, size in zip(row[:3], widths, strict=True)]
        left = None if width is None else width - sum(widths) - 3 * len(_GAP)
        state = click.style(fixed[1], fg=STATE_COLOURS.get(row[1])) if width is not None else fixed[1]
        click.echo(_GAP.join([fixed[0], state, fixed[2], _fitting(row[3], left)]).rstrip())


def age(seconds: float) -> str:
    """`just now`, `3 min ago`, `2 d ago`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now" if seconds < 10 else f"{int(seconds)} s ago"


def _title(report: RunRecord | SweepReport) -> str:
    """The name that somebody gave, else the id: either may be typed wherever a run or sweep is asked for."""
    return one_line(report.name) if isinstance(report, SweepReport) else report.run


def _differing(runs: Sequence[RunRecord]) -> frozenset[str]:
    """The parameters that have several values among the runs of a pipeline, or some runs do not have."""
    seen: dict[tuple[str, str], set[object]] = {}
    for run in runs:
        pipeline = run.sweep.rpartition("-")[0]
        for name, value in run.parameters.items():
            seen.setdefault((pipeline, name), set()).add(value)
    return frozenset(name for (_, name), values in seen.items() if len(values) > 1)


def _facts(report: RunRecord | SweepReport, differing: frozenset[str]) -> list[str]:
    """What a row says beside name, state and age, the most telling first."""
    if isinstance(report, SweepReport):
        return [f"{counted(report.total, 'run')}:", *counts_line(report).split(" "), *_best_of(report)]
    values = [(name not in differing, f"{one_line(name)}={short(value)}") for name, value in report.parameters.items()]
    metrics = [f"{one_line(name)}={value:g}" for name, value in report.metrics.items()]
    first = [text for is_same, text in values if not is_same]
    return [*first, *metrics, *(text for is_same, text in values if is_same)]


def _best_of(report: SweepReport) -> list[str]:
    metric = report.metric
    return [f"best {one_line(metric.name)}={metric.best:.6g}"] if metric and metric.best is not None else []


def _fitting(facts: Sequence[str], width: int | None) -> str:
    """As many facts as fit, the last possibly cut, and the number of those left out."""
    whole = " ".join(facts)
    if width is None or cell_len(whole) <= width:
        return whole
    shown: list[str] = []
    for number, fact in enumerate(facts):
        rest = f"+{len(facts) - number} more"
        if cell_len(" ".join([*shown, fact, rest])) > width:
            after = [f"+{len(facts) - number - 1} more"] if number < len(facts) - 1 else []
            if cut := _cut(fact, width - cell_len(" ".join([*shown, "", *after]))):
                return " ".join([*shown, cut, *after])
            return " ".join([*shown, rest]) if cell_len(" ".join([*shown, rest])) <= width else ""
        shown.append(fact)
    return " ".join(shown)


def _cut(fact: str, width: int) -> str:
    """The beginning of `name=text` with an ellipsis; empty for a number, of which a part says something else."""
    name, equals, value = fact.partition("=")
    if not equals or _NUMBER.match(value) or width < cell_len(name) + _MIN_OF_A_TEXT:
        return ""
    return fact if cell_len(fact) <= width else f"{set_cell_size(fact, width - 1).rstrip()}…"


def _watch_live(client: Client, sweep: str) -> SweepReport:
    """A bar of steps (of runs, if steps cannot be counted), and below it what the workers are doing."""
    # Imported here: no other command needs them, and they are slow to import on a busy machine.
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    screen = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
    )
    bar = Progress(*columns, console=screen, expand=True)
    with Live(console=screen, transient=True, auto_refresh=False) as live:
        report = client.sweep(sweep)
        task = bar.add_task(sweep, left="")
        while report.state not in ENDED_SWEEP:
            is_counted = report.steps_total is not None
            done, total = (report.steps_done, report.steps_total) if is_counted else (report.done, report.total)
            bar.update(task, completed=done or 0, total=total, left=left_text(report))
            is_paused = report.state in ("pausing", "paused")
            facts = [
                state_text(report) if is_paused else "",
                steps_line(report),
                _failed(report),
                activity_line(report),
            ]
            below = filter(None, [", ".join(filter(None, facts)), metric_line(report)])
            live.update(Group(bar, *(safe_text(f"  {line}") for line in below)), refresh=True)
            time.sleep(_POLL_SECONDS)
            report = client.sweep(sweep)
        return report


def _watch_plain(client: Client, sweep: str) -> SweepReport:
    shown, shown_at = "", 0.0
    while True:
        report = client.sweep(sweep)
        line = change_line(report)
        over = report.state in ENDED_SWEEP
        if over or (line != shown and time.monotonic() - shown_at >= _LINE_SECONDS):
            print(f"{sweep} {line}", file=sys.stderr, flush=True)
            shown, shown_at = line, time.monotonic()
        if over:
            return report
        time.sleep(_POLL_SECONDS)


def _failed(report: SweepReport) -> str:
    return f"{report.counts['failed']:,} failed" if report.counts["failed"] else ""
