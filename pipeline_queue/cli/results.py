"""`results`: the runs of a sweep as a table, CSV, JSON, Parquet or a page."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline_queue.cli.connection import reading
from pipeline_queue.cli.printing import echo, echo_json, harmless, within_width
from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.wording import counted
from pipeline_queue.model.conditions import Condition, parse
from pipeline_queue.reporting.results import Row, check_names, find_columns, only_columns, sort_rows
from pipeline_queue.storage.atomic import replace_file

_FILE = click.Path(path_type=Path, dir_okay=False)
_ROWS_ON_A_TERMINAL = 50


@click.command()
@click.argument("sweep")
@click.option("--sort", metavar="NAME,…", help="Sort by these columns; a leading - sorts descending: --sort -accuracy.")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Show only matching runs: 'accuracy>0.9 and optimizer in (sgd, adam)'.",
)
@click.option("--columns", metavar="NAME,…", help="Show only these columns.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help=f"Show at most this many runs (default: {_ROWS_ON_A_TERMINAL} on a terminal, else all).",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--parquet", type=_FILE, help="Write a Parquet file (needs pyarrow).")
@click.option("--html", type=_FILE, help="Write an HTML page with a table and plots that opens offline.")
def results(
    sweep: str,
    sort: str | None,
    where: tuple[str, ...],
    columns: str | None,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
    parquet: Path | None,
    html: Path | None,
) -> None:
    """Show the ended runs of SWEEP: parameters that differ, state, metrics, seconds.

    \b
    Examples:
      pipeline-queue results last --sort -accuracy
      pipeline-queue results last --where 'state=succeeded and loss<0.1' --csv
      pipeline-queue results last --html results.html
    """
    if as_csv + as_json + bool(parquet) + bool(html) > 1:
        raise InputError("--csv, --json, --parquet and --html exclude each other; give one of them")
    ended = _read(sweep)
    keys = _names(sort)
    every, names = _selected(ended, keys, where, _names(columns))
    rows = every[:limit]
    if as_csv or as_json:
        _print(rows, names, as_csv)
    elif parquet:
        from pipeline_queue.reporting.formats import to_parquet

        _write(parquet, to_parquet(rows, names), len(rows))
    elif html:
        _write(html, _page(rows, names, sweep, keys), len(rows))
    elif rows:
        _print_table(rows, every, names, keys, limit)
    else:
        echo(f"none of the {counted(len(ended), 'ended run')} matches" if ended else "no run has ended yet", err=True)


def _read(sweep: str) -> list[Row]:
    skipped: list[str] = []
    with reading() as client:
        rows = client.results(sweep, skipped.append)
    for text in skipped[:3] + ([f"and {len(skipped) - 3:,} more"] if len(skipped) > 3 else []):
        echo(f"note: {text}", err=True)
    return rows


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def _selected(
    rows: list[Row], keys: Sequence[str], where: Sequence[str], columns: list[str]
) -> tuple[list[Row], list[str] | None]:
    """The rows that were asked for, in order, and the columns if some were."""
    # Before the first run has ended nobody knows which metrics there will be.
    known = find_columns(rows).every if rows else None
    conditions: list[Condition] = [parse(text, known) for text in where]
    if known:
        check_names([key.removeprefix("-") for key in keys], known, "--sort")
        check_names(columns, known, "--columns")
    if conditions:
        rows = [row for row in rows if all(condition.holds(row.as_dict()) for condition in conditions)]
    return sort_rows(rows, keys), columns or None


def _print(rows: list[Row], names: list[str] | None, as_csv: bool) -> None:
    from pipeline_queue.reporting.formats import to_csv, to_json

    if as_csv:
        # Bytes: the line ends of CSV are its own, not the platform's.
        text = to_csv(rows, names)
        # Escaped on a terminal, unchanged in a file or another program.
        if sys.stdout.isatty():
            text = harmless(text.replace("\r\n", "\n"))
        click.echo(text.encode(errors="replace"), nl=False)
    else:
        echo_json(to_json(rows if names is None else only_columns(rows, names)))


def _page(rows: list[Row], names: list[str] | None, sweep: str, keys: list[str]) -> bytes:
    from pipeline_queue.reporting.page import render_page

    title = rows[0].run.rpartition(".")[0] if rows else sweep
    return render_page(rows if names is None else only_columns(rows, names), title, keys).encode()


def _write(path: Path, data: bytes, runs: int) -> None:
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file; name another file")
    try:
        replace_file(path, data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; name another file") from error
    echo(f"wrote {counted(runs, 'run')} to {path}")


def _print_table(
    rows: list[Row], every: list[Row], names: list[str] | None, keys: list[str], limit: int | None
) -> None:
    from pipeline_queue.cli.results_table import table_lines
    from pipeline_queue.cli.sweep_display import failure_lines
    from pipeline_queue.model.failure_causes import grouped

    terminal = sys.stdout.isatty()
    shown = rows[:_ROWS_ON_A_TERMINAL] if terminal and not limit else rows
    width = shutil.get_terminal_size().columns if terminal else None
    click.echo("\n".join(table_lines(shown, every, names, keys, width)))
    for line in failure_lines(grouped((row.run, row.cause, row.is_shared) for row in rows if row.cause)):
        echo(within_width(harmless(line)))
    if len(shown) < len(rows):
        echo(f"{len(rows) - len(shown):,} more; --limit, --csv or --html shows them", err=True)
