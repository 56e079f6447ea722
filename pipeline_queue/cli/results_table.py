"""The table of `results`: laid out by hand, because ten thousand rows must appear at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
from rich.cells import cell_len, set_cell_size

from pipeline_queue.cli.display import cell
from pipeline_queue.contract.records import Scalar
from pipeline_queue.model.main_metric import choose_metric
from pipeline_queue.reporting.results import Columns, Row, find_columns, to_columns

_GAP = "  "
_MIN_CUT = 12
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
        if text.isascii():
            return text.rjust(self.width) if self.to_the_right else text.ljust(self.width)
        space = " " * (self.width - _width(text))
        return space + text if self.to_the_right else text + space

    def cells(self, coloured: bool) -> list[str]:
        """Every text at this width; states in their colours on a terminal."""
        if coloured and self.name == "state":
            return [click.style(self.padded(text), fg=_COLOURS.get(text)) for text in self.texts]
        return [self.padded(text) for text in self.texts]


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def table_lines(
    shown: Sequence[Row], every: Sequence[Row], names: Sequence[str] | None, keys: Sequence[str], width: int | None
) -> list[str]:
    """Header, one line a row, and what the table leaves out; `width` None: as wide as it takes.

    `every` is what the columns are chosen from; `shown` are the first of them. What is the same in all has no column
    unless it was asked for, and the metric that is looked at first has one at any width. Where they are sorted by a
    metric, the best is marked.
    """
    found = find_columns(every)
    keyed = [key.removeprefix("-") for key in keys]
    same = () if names else tuple(name for name in _same_metrics(every, found) if name not in keyed)
    main = choose_metric((name, name in same) for name in found.metrics)
    metrics = sorted((name for name in found.metrics if name not in same), key=lambda name: name != main)
    wanted = list(names or ("index", "state", *found.changed, *metrics, "seconds"))
    marked = _has_best(shown, found, keys)
    longest = None if width is None else max(width // 4, _MIN_CUT)
    columns = [_column(name, values, found, longest) for name, values in to_columns(shown, wanted).items()]
    if marked:
        columns.insert(0, _Column("", [_MARK, *[""] * (len(shown) - 1)], len(_MARK), False))
    kept = _fitting(columns, {"", *keyed, *(() if names or main is None else ("index", "state", main))}, width)
    lines = [_GAP.join(column.padded(column.name) for column in kept).rstrip()]
    lines += [
        _GAP.join(cells).rstrip() for cells in zip(*(column.cells(width is not None) for column in kept), strict=True)
    ]
    if width is not None:
        lines[0] = click.style(lines[0], dim=True)
        lines[1] = click.style(lines[1], bold=True) if marked else lines[1]
    left_out = [column.name for column in columns if column not in kept]
    values = every[0].as_dict()
    alike = [f"{cell(name)}={values[name]:.6g}" for name in same]
    alike += [] if names else [f"{cell(name)}={cell(values.get(name))}" for name in found.constant]
    return lines + _remarks(alike, left_out, width)


def _same_metrics(rows: Sequence[Row], columns: Columns) -> list[str]:
    """The metrics that every one of several rows has with the same value."""
    if len(rows) < 2:
        return []
    values = to_columns(rows, columns.metrics)
    return [name for name, column in values.items() if column[0] is not None and column.count(column[0]) == len(rows)]


def _has_best(rows: Sequence[Row], columns: Columns, keys: Sequence[str]) -> bool:
    """Whether the first row is the best: rows are sorted by these keys, missing values last."""
    name = keys[0].removeprefix("-") if keys else ""
    return name in columns.metrics and rows[0].as_dict().get(name) is not None


def _column(name: str, values: Sequence[Scalar | None], found: Columns, longest: int | None) -> _Column:
    """`longest`: the most cells of a text; numbers are never cut."""
    shape = ".2f" if name == "seconds" else ".6g" if name in found.metrics else None
    texts = [format(value, shape) if shape and isinstance(value, float) else cell(value) for value in values]
    if longest is not None:
        texts = [
            _cut(text, longest) if isinstance(value, str) else text for text, value in zip(texts, values, strict=True)
        ]
    head = cell(name)
    numbers = all(type(value) in (int, float) for value in values if value is not None)
    return _Column(head, texts, max(_width(head), *map(_width, texts)), numbers)


def _cut(text: str, longest: int) -> str:
    return text if _width(text) <= longest else f"{set_cell_size(text, longest - 1).rstrip()}…"


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


def _remarks(alike: Sequence[str], left_out: Sequence[str], width: int | None) -> list[str]:
    """A line each on a terminal: what does not fit is counted."""
    lines = []
    if alike:
        lines.append(_listed("same in all runs:", alike, "", width))
    if left_out:
        lines.append(_listed("hidden:", left_out, " (see --columns, --csv, --html)", width))
    return ["", *(click.style(line, dim=True) for line in lines)] if lines else []


def _listed(head: str, texts: Sequence[str], tail: str, width: int | None) -> str:
    """`head a b +7 more tail`: as many of the texts as the width holds, and how many it does not."""
    whole = " ".join([head, *texts]) + tail
    if width is None or _width(whole) <= width:
        return whole
    shown = [head]
    for number, text in enumerate(texts):
        rest = f"+{len(texts) - number} more{tail}"
        if _width(" ".join([*shown, text, rest])) > width:
            break
        shown.append(text)
    return " ".join([*shown, f"+{len(texts) - len(shown) + 1} more{tail}"])
