"""The columns of a sweep's rows, known without looking at all rows again for each that is added."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_queue.contract.records import Scalar
from pipeline_queue.reporting.results import Columns, Row, metric_column, parameter_column


class SeenColumns:
    """What `results.find_columns` finds in the rows that were added, in the order in which they were."""

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
