"""A sweep as rows, one for each run that has ended: read from the storage alone, and sorted.

A row's values have one flat name each: `run`, `index`, `state`, `seconds`, a parameter's name, a metric's name. Where
two would be called the same, the later in this list is `parameters.<name>` or `metrics.<name>`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.records import Scalar
from pipeline_queue.model.failure_causes import cause_of
from pipeline_queue.model.problems import quoted, suggestion
from pipeline_queue.storage.run_store import RunStore

OWN_NAMES = ("run", "index", "state", "seconds")

_PREFIXES = ("parameters.", "metrics.")


@dataclass(frozen=True, slots=True)
class Row:
    """One run; `seconds` is what its steps' processes took together, None when none ran."""

    run: str
    index: int
    state: str
    parameters: dict[str, Scalar]
    metrics: dict[str, float]
    seconds: float | None
    cause: str = ""
    """Why it failed, without what differs from run to run; empty unless it did."""
    is_shared: bool = False
    """Whether it shares the failure of another run's execution."""

    def as_dict(self) -> dict[str, Scalar | None]:
        """Flat name -> value: the row's own, then parameters, then metrics."""
        flat: dict[str, Scalar | None] = {
            "run": self.run,
            "index": self.index,
            "state": self.state,
            "seconds": self.seconds,
        }
        for name, value in self.parameters.items():
            flat[parameter_column(name)] = value
        for name, number in self.metrics.items():
            flat[metric_column(name, self.parameters)] = number
        return flat

    def as_json(self) -> dict[str, Any]:
        """The row as `results --json` documents it."""
        return {
            "run": self.run,
            "index": self.index,
            "state": self.state,
            "parameters": self.parameters,
            "metrics": self.metrics,
            "seconds": self.seconds,
            **({"cause": self.cause} if self.cause else {}),
        }


@dataclass(frozen=True, slots=True)
class Columns:
    """The flat names of rows: parameters with more than one value among them, the other parameters, metrics."""

    changed: tuple[str, ...]
    constant: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def every(self) -> tuple[str, ...]:
        """All of them in the order of a table."""
        return ("run", "index", "state", *self.changed, *self.metrics, "seconds", *self.constant)


def parameter_column(name: str) -> str:
    """The flat name of a parameter."""
    return f"parameters.{name}" if name in OWN_NAMES or name.startswith(_PREFIXES) else name


def metric_column(name: str, parameters: Iterable[str]) -> str:
    """The flat name of a metric beside these parameters."""
    taken = name in OWN_NAMES or name in parameters or name.startswith(_PREFIXES)
    return f"metrics.{name}" if taken else name


def read_rows(storage: RunStore, sweep: str, note: Callable[[str], None] | None = None) -> list[Row]:
    """The ended runs of a sweep by index; `note` is told of each `run.json` that had to be passed over.

    Raises NotFoundError when there is no such sweep, StorageError when it cannot be read.
    """
    rows = []
    for path, data in storage.run_ends(sweep):
        try:
            rows.append(row_of(sweep, data)[0])
        except (ValueError, RecursionError) as error:
            if note:
                note(f"skipped {path}, which is damaged: {error}")
    rows.sort(key=lambda row: row.index)
    return rows


def _not_a_number(_: str) -> None:
    return None


_DECODE = json.JSONDecoder(parse_constant=_not_a_number).decode


def row_of(sweep: str, data: bytes) -> tuple[Row, float | None]:
    """The row of an end record, and when that run ended (Unix seconds).

    Raises ValueError for what is not the end of a run of this sweep.
    """
    record = _DECODE(data.decode())
    if not isinstance(record, dict) or record.get("v") != 1:
        raise ValueError("it is not a record of version 1")
    if b"\\u" in data:
        # Half a surrogate pair can be written in JSON, but in no file and on no terminal afterwards.
        json.dumps(record, ensure_ascii=False).encode()
    index, state, steps = record.get("index"), record.get("state"), record.get("steps", [])
    if type(index) is not int or not isinstance(state, str) or not isinstance(steps, list):
        raise ValueError("index, state or steps are missing")
    parameters = _values(record, "parameters", (bool, int, float, str))
    metrics = _values(record, "metrics", (int, float))
    cause, is_shared = _failure(record, steps) if state == "failed" else ("", False)
    row = Row(f"{sweep}.{index}", index, state, parameters, metrics, _seconds(steps), cause, is_shared)
    ended_at = record.get("ended_at")
    return row, float(ended_at) if isinstance(ended_at, int | float) and math.isfinite(ended_at) else None


def _failure(record: dict[str, Any], steps: list[Any]) -> tuple[str, bool]:
    message = record.get("message")
    failed = next((step for step in steps if isinstance(step, dict) and step.get("state") == "failed"), {})
    return cause_of(message) if isinstance(message, str) else "", failed.get("attempts") == 0


def _values(record: dict[str, Any], key: str, types: tuple[type, ...]) -> dict[str, Any]:
    """The finite values of these types: a metric that is not a number is a metric that is missing."""
    found = record.get(key, {})
    if not isinstance(found, dict):
        raise ValueError(f"{key} is not a mapping")
    return {
        name: value
        for name, value in found.items()
        if type(value) in types and (type(value) is not float or math.isfinite(value))
    }


def _seconds(steps: list[Any]) -> float | None:
    taken = [step.get("seconds") for step in steps if isinstance(step, dict)]
    known = [float(one) for one in taken if isinstance(one, int | float) and math.isfinite(one)]
    return round(sum(known), 6) if known else None


def find_columns(rows: Sequence[Row]) -> Columns:
    """The flat names that occur, in the order they first do."""
    seen = SeenColumns()
    for row in rows:
        seen.add(row)
    return seen.columns()


class SeenColumns:
    """The flat names in the rows that were added, in the order they first occur: known without looking at all again."""

    def __init__(self) -> None:
        self.has_cause = False
        self._is_empty = True
        self._first: dict[str, Scalar] = {}
        """Parameter -> its first value."""
        self._changed: set[str] = set()
        self._metrics: dict[str, None] = {}

    def add(self, row: Row) -> None:
        if not self._is_empty and row.parameters.keys() != self._first.keys():
            self._changed |= row.parameters.keys() ^ self._first.keys()
        for name, value in row.parameters.items():
            if self._first.setdefault(name, value) != value:
                self._changed.add(name)
        for name in row.metrics:
            self._metrics.setdefault(name)
        self.has_cause = self.has_cause or bool(row.cause)
        self._is_empty = False

    def with_rows(self, rows: Iterable[Row]) -> SeenColumns:
        """Of these rows too, while others still read this one."""
        made = SeenColumns()
        made.has_cause, made._is_empty = self.has_cause, self._is_empty
        made._first, made._changed, made._metrics = dict(self._first), set(self._changed), dict(self._metrics)
        for row in rows:
            made.add(row)
        return made

    def columns(self) -> Columns:
        return Columns(
            tuple(parameter_column(name) for name in self._first if name in self._changed),
            tuple(parameter_column(name) for name in self._first if name not in self._changed),
            tuple(metric_column(name, self._first) for name in self._metrics),
        )


def sort_rows(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Sorted by flat names, a leading `-` for the largest first; equal rows keep their order.

    A missing value comes last in both directions; numbers come before texts.
    """
    ordered = list(rows)
    for key in reversed(keys):
        name = key.removeprefix("-")
        values = [(row, row.as_dict().get(name)) for row in ordered]
        present = sorted(
            ((_rank(value), row) for row, value in values if value is not None),
            key=lambda pair: pair[0],
            reverse=key.startswith("-"),
        )
        ordered = [row for _, row in present] + [row for row, value in values if value is None]
    return ordered


def _rank(value: Scalar) -> tuple[int, float, str]:
    return (1, 0.0, value) if isinstance(value, str) else (0, value, "")


def best(rows: Iterable[Row], metric: str, largest: bool) -> Row | None:
    """The row with the largest or smallest value of a flat name, the first of equals; None when none has it."""
    ordered = sort_rows(rows, [f"-{metric}" if largest else metric])
    return ordered[0] if ordered and ordered[0].as_dict().get(metric) is not None else None


def check_names(names: Iterable[str], known: Sequence[str], asked_by: str) -> None:
    """Raises InputError for a name that is not one of those known."""
    for name in names:
        if name not in known:
            hint = suggestion(name, known, "columns")
            raise InputError(f"{asked_by}: unknown column {quoted(name)} ({hint})")


def only_columns(rows: Iterable[Row], names: Sequence[str]) -> list[Row]:
    """The rows with no other parameters and metrics than these flat names."""
    wanted = frozenset(names)
    return [
        Row(
            row.run, row.index, row.state,
            {name: value for name, value in row.parameters.items() if parameter_column(name) in wanted},
            {name: value for name, value in row.metrics.items() if metric_column(name, row.parameters) in wanted},
            row.seconds, row.cause, row.is_shared,
        )
        for row in rows
    ]  # fmt: skip


def to_columns(rows: Sequence[Row], names: Sequence[str] | None = None) -> dict[str, list[Scalar | None]]:
    """Flat name -> one value for each row, as `pandas.DataFrame(...)` takes it; None where it is missing."""
    flat = [row.as_dict() for row in rows]
    wanted = find_columns(rows).every if names is None else names
    return {name: [row.get(name) for row in flat] for name in wanted}
