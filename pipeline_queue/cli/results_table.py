"""The table of `results`: laid out by hand, since ten thousand rows must be there in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len

from pipeline_queue.cli.display import cell
from pipeline_queue.contract.records import Scalar
from pipeline_queue.results import Columns, Row, find_columns, to_columns

_GAP = "  "
_MARK = "best"
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


@dataclass(frozen=True, slots=True)
class _Column:
    """One column as text; `width` in terminal cells."""

    name: str
    texts: list[str]
    width: int
    to_the_right: bool

    def padded(self, text: str) -> str:
        space = " " * (self.width - cell_len(text))
        return space + text if self.to_the_right else text + space


def table_lines(
    shown: Sequence[Row], every: Sequence[Row], names: Sequence[str] | None, keys: Sequence[str], width: int | None
) -> list[str]:
    """Header, one line a row, and what the table leaves out; `width` None: as wide as it takes.

    `every` is what the columns are chosen from; `shown` are the first of them. Where they are sorted by a metric, the
    best is marked.
    """
    found = find_columns(every)
    wanted = list(names or ("index", "state", *found.changed, *found.metrics, "seconds"))
    marked = _has_best(shown, found, keys)
    columns = [_column(name, values, found) for name, values in to_columns(shown, wanted).items()]
    if marked:
        columns.insert(0, _Column("", [_MARK, *[""] * (len(shown) - 1)], len(_MARK), False))
    kept = _fitting(columns, {"", *(key.removeprefix("-") for key in keys)}, width)
    lines = [click.style(_GAP.join(column.padded(column.name) for column in kept).rstrip(), dim=True)]
    for number in range(len(shown)):
        lines.append(_line(kept, number, bold=marked and number == 0))
    left_out = [column.name for column in columns if column not in kept]
    return lines + _remarks(every[0], () if names else found.constant, left_out)


def _has_best(rows: Sequence[Row], columns: Columns, keys: Sequence[str]) -> bool:
    """Whether the first row is the best: rows are sorted by these keys, missing values last."""
    name = keys[0].removeprefix("-") if keys else ""
    return name in columns.metrics and rows[0].as_dict().get(name) is not None


def _column(name: str, values: Sequence[Scalar | None], found: Columns) -> _Column:
    shape = ".2f" if name == "seconds" else ".6g" if name in found.metrics else None
    texts = [
        format(value, shape) if shape and isinstance(value, int | float) else cell(value, missing="-")
        for value in values
    ]
    head = cell(name)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None)
    return _Column(head, texts, max(cell_len(head), *map(cell_len, texts)), numbers)


def _fitting(columns: list[_Column], needed: set[str], width: int | None) -> list[_Column]:
    """As many from the left as fit, the first and those needed in any case."""
    if width is None:
        return columns
    left = width - sum(column.width + len(_GAP) for column in columns if column.name in needed)
    kept: list[_Column] = []
    for column in columns:
        if column.name not in needed:
            left -= column.width + len(_GAP)
        # The last column has no gap after it.
        if column.name in needed or left >= -len(_GAP) or not kept:
            kept.append(column)
    return kept


def _line(columns: list[_Column], number: int, bold: bool) -> str:
    pieces = []
    for column in columns:
        text = column.texts[number]
        colour = _COLOURS.get(text) if column.name == "state" else None
        padded = column.padded(text)
        pieces.append(click.style(padded, fg=colour, bold=bold or None) if colour or bold else padded)
    return _GAP.join(pieces).rstrip()


def _remarks(first: Row, constant: Sequence[str], left_out: Sequence[str]) -> list[str]:
    lines = []
    if constant:
        values = first.as_dict()
        lines.append("the same in all: " + " ".join(f"{cell(name)}={cell(values.get(name))}" for name in constant))
    if left_out:
        lines.append(f"not shown for want of width: {', '.join(left_out)} (--columns, --csv or --html shows them)")
    return ["", *(click.style(line, dim=True) for line in lines)] if lines else []
