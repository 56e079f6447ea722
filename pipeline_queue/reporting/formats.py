"""Rows as CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.records import Scalar
from pipeline_queue.model.parameters import text_of
from pipeline_queue.reporting.results import Row, to_columns

# The largest that a Parquet column of integers holds.
_MAX_INTEGER = 2**63 - 1


def to_csv(rows: Sequence[Row], names: Sequence[str] | None = None) -> str:
    """RFC 4180 with a header; values in their canonical text, missing ones empty."""
    columns = to_columns(rows, names)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for values in zip(*columns.values(), strict=True):
        writer.writerow(["" if value is None else text_of(value) for value in values])
    return text.getvalue()


def to_json(rows: Iterable[Row]) -> str:
    """One object with `rows`, a row a line."""
    # With `indent`, Python leaves its fast encoder.
    lines = ",\n".join("  " + json.dumps(row.as_json(), allow_nan=False, ensure_ascii=False) for row in rows)
    return f'{{"rows": [\n{lines}\n]}}' if lines else '{"rows": []}'


def to_parquet(rows: Sequence[Row], names: Sequence[str] | None = None) -> bytes:
    """Raises InputError when pyarrow is not installed."""
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError("Parquet needs pyarrow: pip install 'pipeline-queue[parquet]', or use --csv") from error
    columns = {name: _of_one_type(values) for name, values in to_columns(rows, names).items()}
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns), buffer)
    return buffer.getvalue()


def _of_one_type(values: list[Scalar | None]) -> list[Any]:
    """As they are when a column can hold them, else all as texts."""
    kinds = {float if isinstance(value, int | float) and type(value) is not bool else type(value)
             for value in values if value is not None}  # fmt: skip
    too_large = any(type(value) is int and abs(value) > _MAX_INTEGER for value in values)
    if len(kinds) > 1 or too_large:
        return [None if value is None else text_of(value) for value in values]
    return values
