"""`retry` and `forget`: re-run or delete what has ended."""

from __future__ import annotations

import sys
import time

import click

from pipeline_queue.cli.connection import check_settings, is_local, reading, threads_option, working
from pipeline_queue.cli.printing import echo
from pipeline_queue.cli.watch import json_of_run, json_of_sweep, watch_run, watch_sweep
from pipeline_queue.client import Client
from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.wording import counted
from pipeline_queue.loading.steps import duration_seconds

_SHOWN_AFTER_SECONDS = 0.5
_SHOWN_EACH_SECONDS = 0.1


@click.command()
@click.argument("sweep_name", metavar="SWEEP")
@click.option("--failed", is_flag=True, help="Re-run only failed runs, not cancelled ones.")
@click.option("--where", metavar="CONDITION", help="Re-run only matching runs: 'learning_rate>0.01 and state=failed'.")
@click.option("--detach", is_flag=True, help="Return as soon as the runs are queued again.")
@click.option(
    "--slots",
    type=click.IntRange(1, 1024),
    help="Steps that the embedded worker runs at a time (default: one per CPU).",
)
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def retry(sweep_name: str, failed: bool, where: str | None, detach: bool, slots: int | None, as_json: bool) -> None:
    """Re-run the failed, cancelled or lost runs of SWEEP, or one such run.

    Each run continues from its first unpublished step; published steps are not repeated.

    \b
    Examples:
      pipeline-queue retry last
      pipeline-queue retry last --where 'learning_rate>0.01'
    """
    check_settings()
    if failed:
        where = f"state=failed and ({where})" if where else "state=failed"
    with working(slots, nearest=True) as client:
        progress = _Progress()
        report = client.retry(sweep_name, where, note=progress.end, progress=progress.show)
        if progress.is_none and report.ended_at is not None:
            if as_json:
                echo(_json(client, sweep_name, report.sweep))
            sys.exit(0 if report.state == "succeeded" else 1)
        _serve_queues(client, report.sweep)
        if detach:
            echo(_json(client, sweep_name, report.sweep) if as_json else report.sweep)
            return
        state = _watch(client, sweep_name, report.sweep, as_json)
    if state != "succeeded":
        sys.exit(1)


@click.command()
@click.argument("sweep_name", metavar="[SWEEP]", required=False)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--reused", is_flag=True, help="Delete the steps with `reuse: always` that no run links to, instead of a sweep."
)
@click.option(
    "--older-than",
    default="1h",
    show_default=True,
    help="With --reused: delete only steps unused for this long, such as 30m or 7d.",
)
def forget(sweep_name: str | None, yes: bool, reused: bool, older_than: str) -> None:
    """Delete SWEEP, or a single run, that has ended: its outputs, logs and records. This cannot be undone."""
    if reused == (sweep_name is not None):
        raise InputError("name a sweep to delete, or pass --reused, but not both")
    if sweep_name is None:
        _forget_reused(yes, older_than)
        return
    with reading() as client:
        report = client.sweep(sweep_name)
        if not yes:
            if not sys.stdin.isatty():
                raise InputError("stdin is not a terminal; pass --yes to delete without confirmation")
            runs = counted(report.total, "run")
            click.confirm(f"Delete {report.sweep} ({runs}, {report.state}) with all its files?", abort=True, err=True)
        name = client.forget(sweep_name)
    echo(f"deleted {name}")


def _forget_reused(yes: bool, older_than: str) -> None:
    seconds = duration_seconds(older_than)
    if seconds is None:
        raise InputError(f"--older-than takes a duration such as 30m, 12h or 7d, not '{older_than[:40]}'")
    with reading() as client:
        if not yes:
            if not sys.stdin.isatty():
                raise InputError("stdin is not a terminal; pass --yes to delete without confirmation")
            click.confirm("Delete the reused steps that no run links to?", abort=True, err=True)
        removed, left = client.forget_reused(seconds)
    what = "deleted nothing" if removed == 0 else f"deleted {counted(removed, 'reused step')}"
    echo(f"{what}; kept {left:,}")


def _json(client: Client, asked: str, sweep: str) -> str:
    return json_of_sweep(client, sweep) if client.is_sweep(asked) else json_of_run(client, asked)


class _Progress:
    """Shows on a terminal how far a slow retry is, in one line that is overwritten."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _SHOWN_AFTER_SECONDS
        self._is_shown = False
        self.is_none = False

    def show(self, count: int) -> None:
        """`count` runs have been reopened so far."""
        if time.monotonic() < self._next or not sys.stderr.isatty():
            return
        self._next = time.monotonic() + _SHOWN_EACH_SECONDS
        self._is_shown = True
        sys.stderr.write(f"\rreopened {counted(count, 'run')}")
        sys.stderr.flush()

    def end(self, count: int) -> None:
        """`count` runs have been reopened in all."""
        if self._is_shown:
            sys.stderr.write("\r\033[K")
        self.is_none = count == 0
        echo("nothing to retry" if count == 0 else f"retrying {counted(count, 'run')}", err=True)


def _serve_queues(client: Client, sweep: str) -> None:
    """Has the embedded worker serve the sweep's queues; it serves only those it was asked to."""
    if is_local():
        client.serve_queues(client.queues(sweep))


def _watch(client: Client, asked: str, sweep: str, as_json: bool) -> str:
    if client.is_sweep(asked):
        return watch_sweep(client, sweep, as_json)
    return watch_run(client, client.resolve(asked), as_json)
