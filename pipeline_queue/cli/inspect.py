"""`status`, `logs`, `trace`, `explain`, `compare`, `outputs`: show what happened, and change nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline_queue.cli.connection import is_local, reading
from pipeline_queue.cli.printing import echo, echo_json
from pipeline_queue.client import Client
from pipeline_queue.contract.errors import InputError, NotFoundError, StorageError
from pipeline_queue.contract.records import RunRecord, StepSummary
from pipeline_queue.contract.settings import KEEP_DAYS, KEEP_TOTAL
from pipeline_queue.contract.states import ENDED
from pipeline_queue.contract.wording import counted
from pipeline_queue.reporting.sweeps import SweepReport
from pipeline_queue.storage.addresses import copy_files, has_files, list_files, open_log
from pipeline_queue.storage.files import PatientReader

if TYPE_CHECKING:
    from pipeline_queue.cli.follow import Look

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_RUN = click.argument("run")
_CHUNK_BYTES = 1024 * 1024
_FOLLOW_SECONDS = 0.2
_UNFINISHED = ("queued", "running", "waiting", "pausing")


@click.command()
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Show at most this many.")
@click.option("--follow", "-f", "goes_on", is_flag=True, help="Show every change until everything shown has ended.")
@_JSON
def status(run: str | None, limit: int, goes_on: bool, as_json: bool) -> None:
    """Show the latest runs and sweeps, or one RUN or sweep (an id, a unique part of one, or `last`).

    With --follow, a terminal is redrawn; elsewhere each change prints one line (with --json, one object). The exit
    code is 0 if everything followed succeeded, else 1. Ctrl-C stops watching.
    """
    if goes_on:
        from pipeline_queue.cli.follow import follow

        sys.exit(follow(lambda client: _look_at(client, run, limit), as_json))
    if run is None:
        _list(limit, as_json)
        return
    with reading() as client:
        served = client.is_served()
        (report,) = _reports(client, run, limit)
        _print_report(report, as_json, served)
        _tell_holds(client)
        if not as_json:
            _tell_unserved([report.state], served)


def _reports(client: Client, name: str | None, limit: int) -> list[RunRecord | SweepReport]:
    """The run or sweep of that name, or the latest of all."""
    if name is None:
        try:
            return list(islice(client.overview(), limit))
        except NotFoundError:
            return []
    return [client.with_reasons(client.sweep(name)) if client.is_sweep(name) else client.run(name)]


def _look_at(client: Client, name: str | None, limit: int) -> Look:
    """What `status` of a run, a sweep or all shows, for --follow."""
    from pipeline_queue.cli.follow import Look

    served, reports = client.is_served(), _reports(client, name, limit)

    def show() -> None:
        if name is None:
            _print_rows(client.storage_root, reports)
        else:
            _print_report(reports[0], as_json=False, served=served)
        _tell_unserved([report.state for report in reports], served)

    return Look(reports, show)


def _list(limit: int, as_json: bool) -> None:
    with reading() as client:
        reports = _reports(client, None, limit)
        served, root = client.is_served(), client.storage_root
        warm = client.warm_python()
        _tell_holds(client)
    if as_json:
        runs = [report.model_dump(mode="json") for report in reports if isinstance(report, RunRecord)]
        sweeps = [report.as_json() for report in reports if isinstance(report, SweepReport)]
        facts = {"warm_python": asdict(warm), "storage": str(root), "served": served}
        echo_json(json.dumps({"runs": runs, "sweeps": sweeps, **facts}, indent=2))
    else:
        _print_rows(root, reports)
        if reports and (warm.forked or warm.cold):
            echo(f"warm Python: {warm}")
        _tell_unserved([report.state for report in reports], served)


def _print_rows(root: Path, reports: Sequence[RunRecord | SweepReport]) -> None:
    if not reports:
        echo(f"no runs yet in {root}; start one: pipeline-queue run FILE -p name=value")
        return
    from pipeline_queue.cli.sweep_display import print_rows

    print_rows(reports, time.time())


def _tell_holds(client: Client) -> None:
    """Prints the workers that take no steps, and why, on standard error."""
    for name, hold in client.holds():
        echo(f"! worker {name} takes no steps: {hold}", err=True)


def _tell_unserved(states: Sequence[str], served: bool) -> None:
    """Says so when runs are unfinished and nothing executes them."""
    waiting = [state for state in states if state in _UNFINISHED]
    if served or not waiting:
        return
    what = "it continues" if len(waiting) == 1 else f"{len(waiting)} of these continue"
    if is_local():
        echo(f"no service is running; {what} with the next `pipeline-queue up` or `run` in this folder")
    else:
        echo(f"no worker is running; {what} when you start one: pipeline-queue worker")


def _print_report(report: RunRecord | SweepReport, as_json: bool, served: bool) -> None:
    """Prints one report; JSON of an unfinished one has `served`: whether anything executes it."""
    if as_json:
        data = report.as_json() if isinstance(report, SweepReport) else report.model_dump(mode="json")
        more = {"served": served} if report.state in _UNFINISHED else {}
        echo_json(json.dumps({**data, **more}, indent=2))
    elif isinstance(report, SweepReport):
        from pipeline_queue.cli.sweep_display import print_sweep

        print_sweep(report)
    else:
        from pipeline_queue.cli.display import print_report

        print_report(report)


@click.command()
@_RUN
@click.argument("step", required=False)
@click.option("--follow", "-f", is_flag=True, help="Keep printing until the run has ended.")
def logs(run: str, step: str | None, follow: bool) -> None:
    """Print the output of RUN's steps byte for byte; with STEP, only that step's."""
    with reading() as client:
        report = client.run(run)
        names = [one.name for one in report.steps]
        if step is not None and step not in names:
            raise NotFoundError(f"run {report.run} has no step '{step}'; its steps are {', '.join(names)}")
        for name in [step] if step else names:
            if follow:
                _follow(client, report.run, name, heading=step is None)
            else:
                _print_log(client, report.run, name, heading=step is None)


def _print_log(client: Client, run: str, step: str, heading: bool) -> None:
    path = client.logs(run, step)
    if path is None:
        return
    _heading(step, heading)
    with suppress(FileNotFoundError):
        try:
            _write_log(path)
        except FileNotFoundError:
            # The step was published meanwhile: its log is in the step's folder now.
            published = client.logs(run, step)
            if published:
                _write_log(published)
    sys.stdout.buffer.flush()


def _write_log(path: Path) -> None:
    with open_log(str(path)) as file:
        while chunk := file.read(_CHUNK_BYTES):
            sys.stdout.buffer.write(chunk)


def _follow(client: Client, run: str, step: str, heading: bool) -> None:
    """An open log stays readable while its folder is renamed, so the descriptor is kept for the attempt."""
    shown = -1
    while True:
        report = client.run(run)
        summary = next(one for one in report.steps if one.name == step)
        file = _opened(summary.log) if summary.attempts != shown else None
        if file is not None:
            shown = summary.attempts
            _heading(step, heading)
            with file:
                _follow_attempt(client, run, step, file, shown)
        elif report.state in ENDED or _is_over(summary, shown):
            return
        else:
            time.sleep(_FOLLOW_SECONDS)


def _opened(log: str | None) -> PatientReader | None:
    """None while there is no log: the step has not begun, printed nothing, or is just being published."""
    try:
        return open_log(log) if log else None
    except FileNotFoundError:
        return None


def _is_over(summary: StepSummary, shown: int) -> bool:
    """Whether the step's log is complete; `shown` is the attempt whose log was printed, -1 for none."""
    return summary.state in ("succeeded", "failed", "skipped") and (shown >= 0 or summary.log is None)


def _follow_attempt(client: Client, run: str, step: str, file: PatientReader, attempt: int) -> None:
    while True:
        report = client.run(run)
        summary = next(one for one in report.steps if one.name == step)
        over = summary.state not in ("running", "waiting") or summary.attempts != attempt
        while chunk := file.read(_CHUNK_BYTES):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        if over or report.state in ENDED:
            return
        time.sleep(_FOLLOW_SECONDS)


def _heading(step: str, wanted: bool) -> None:
    if wanted:
        sys.stdout.buffer.write(f"==> {step} <==\n".encode())
        sys.stdout.buffer.flush()


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@_JSON
def trace(runs: tuple[str, ...], as_json: bool) -> None:
    """Show, row by row, what happened to each parameter of RUN; several RUNs share one table."""
    from pipeline_queue.reporting.trace import process_table

    with reading() as client:
        rows = process_table([client.traced(run) for run in runs])
    if as_json:
        echo_json(json.dumps({"runs": list(runs), "rows": [asdict(row) for row in rows]}, indent=2))
        return
    from pipeline_queue.cli.display import print_table

    print_table(
        ["Step", "Action", "Parameter", "Value passed", "Effect"],
        [[str(row.step), row.action, row.parameter, row.value_passed, row.effect] for row in rows],
    )


@click.command()
@_RUN
@click.argument("step")
@click.option("--against", metavar="RUN", help="Compare with this run (default: the nearest).")
@_JSON
def explain(run: str, step: str, against: str | None, as_json: bool) -> None:
    """Explain why STEP of RUN was executed or reused, and what differs from the nearest run."""
    with reading() as client:
        told = client.explain(run, step, against)
    if as_json:
        echo_json(json.dumps(told.as_json(), indent=2))
        return
    from pipeline_queue.cli.display import print_explanation

    print_explanation(told)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@_JSON
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """Compare runs side by side: parameter values, metrics and outputs."""
    from pipeline_queue.reporting.trace import status_tracker

    with reading() as client:
        tracker = status_tracker([client.traced(run) for run in runs])
    if as_json:
        echo_json(json.dumps(tracker, indent=2))
        return
    from pipeline_queue.cli.display import cell, print_table

    heads = [f"After {name}" for name in tracker["runs"]]
    print_table(
        ["Variable", "Start", *heads, "Final"],
        [
            [row["variable"], cell(row["start"], "undefined"), *map(cell, row["after"]), cell(row["final"])]
            for row in tracker["variables"]
        ],
    )
    for key, kind, values in (("metrics", "metric", "values"), ("outputs", "output", "sizes")):
        if tracker[key]:
            echo()
            title = "Metric" if kind == "metric" else "Output (bytes)"
            print_table([title, *tracker["runs"]], [[row[kind], *map(cell, row[values])] for row in tracker[key]])


@click.command()
@_RUN
@click.argument("destination", required=False, type=click.Path(path_type=Path))
@click.option("--failed", is_flag=True, help="Use the files that failed steps left, not published ones.")
@_JSON
def outputs(run: str, destination: Path | None, failed: bool, as_json: bool) -> None:
    """List the output files of RUN, or copy them to DESTINATION, a new or empty folder, with one subfolder per step.

    For a sweep, use the files of all its runs, with one subfolder per run, named by its index.
    """
    with reading() as client:
        is_sweep = client.is_sweep(run)
        reports = list(client.runs_of(run)) if is_sweep else [client.run(run)]
    of_runs = {report.run: _addresses_of(report, failed) for report in reports}
    if destination is not None:
        _copy_outputs({_below(run, step, is_sweep): address for run, addresses in of_runs.items()
                       for step, address in addresses.items()}, destination)  # fmt: skip
    listed = {run: {step: list_files(address) for step, address in addresses.items()}
              for run, addresses in of_runs.items()}  # fmt: skip
    gone = {report.run: _removed_of(report) for report in reports} if failed else {}
    if as_json:
        found = [{"run": name, "outputs": of_runs[name], "files": files,
                  **({"removed": gone[name]} if failed else {})}
                 for name, files in listed.items()]  # fmt: skip
        echo_json(json.dumps({"runs": found} if is_sweep else found[0], indent=2))
        return
    if count := sum(map(len, gone.values())):
        echo(
            f"the files of {counted(count, 'failed step')} were removed; {KEEP_DAYS} and {KEEP_TOTAL} set what is kept",
            err=True,
        )
    files = [file for steps in listed.values() for paths in steps.values() for file in paths]
    if destination is not None:
        of = f" of {counted(len(reports), 'run')}" if is_sweep else ""
        echo(f"{counted(len(files), 'file')}{of} copied to {destination}")
        return
    for file in files:
        echo(file)


def _below(run: str, step: str, is_sweep: bool) -> str:
    """The subfolder for a step's files; for a sweep, below its run's index."""
    return f"{run.rpartition('.')[2]}/{step}" if is_sweep else step


def _addresses_of(report: RunRecord, failed: bool) -> dict[str, str]:
    """Step -> where its published files are, or those that its failed attempt left."""
    found = ((step.name, step.kept if failed else step.outputs) for step in report.steps)
    return {name: address for name, address in found if address and has_files(address)}


def _removed_of(report: RunRecord) -> list[str]:
    """The failed steps whose kept files have been removed."""
    return [step.name for step in report.steps if step.kept and not has_files(step.kept)]


def _copy_outputs(addresses: dict[str, str], destination: Path) -> None:
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(f"{destination} already exists; name a new or an empty folder")
    try:
        for name, address in addresses.items():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            copy_files(address, destination / name)
    except OSError as error:
        raise StorageError(f"cannot copy the outputs to {destination}: {error}; name another folder") from error
