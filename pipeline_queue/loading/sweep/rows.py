"""Makes columns of points that may name only some parameters each: defaults filled in, no point twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.model.parameters import BadValueError, Given, read_given
from pipeline_queue.model.pipeline import Parameter, Value
from pipeline_queue.space import Columns, Values

_REMEMBERED_TEXTS = 100_000
_REFUSED: Value = False
"""Stands where a problem was found, so that the place is not taken for an empty one."""


class Rows:
    """Grows point by point; the rows are numbered by the caller, whose `place` says where one is."""

    def __init__(
        self, findings: Findings, parameters: Mapping[str, Parameter], whole: Place, place: Callable[[int], Place]
    ) -> None:
        """`whole` is the place of the whole list or file."""
        self._findings = findings
        self._parameters = parameters
        self._whole = whole
        self._place = place
        self._columns: dict[str, list[Value | None]] = {}
        self._rows: list[int] = []
        self._read: dict[tuple[str, str], Value] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, texts: Mapping[str, str | None]) -> None:
        """A point of declared parameters; None is the default."""
        for name, text in texts.items():
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = [None] * len(self._rows)
            column.append(None if text is None else self._value(row, name, text))
        self._rows.append(row)
        if len(texts) < len(self._columns):
            for column in self._columns.values():
                column.extend([None] * (len(self._rows) - len(column)))

    def columns(self) -> Columns | None:
        """None with problems."""
        if not self._rows or not self._columns:
            self._findings.problems.add(self._whole, "no points here", "write at least one")
            return None
        axes = {name: Values(self._filled(name, column)) for name, column in self._columns.items()}
        if self._findings.problems:
            return None
        columns = Columns(axes).distinct()
        self._findings.note_duplicates(self._whole, len(self._rows) - columns.count, "point")
        return columns

    def _value(self, row: int, name: str, text: str) -> Value:
        """The checked value; a text is read once, however often it occurs."""
        value = self._read.get((name, text))
        if value is not None:
            return value
        try:
            value = read_given(self._parameters[name], Given(text, self._place(row)))
        except BadValueError as error:
            self._findings.refuse(self._place(row), name, error)
            return _REFUSED
        if len(self._read) < _REMEMBERED_TEXTS:
            self._read[name, text] = value
        return value

    def _filled(self, name: str, column: list[Value | None]) -> tuple[Value, ...]:
        default = self._parameters[name].default
        filled = tuple(default if value is None else value for value in column)
        for row, value in zip(self._rows, filled, strict=True):
            if value is None:
                error = BadValueError("no value here, and no default", "give it one at every point")
                self._findings.refuse(self._place(row), name, error)
        return tuple(_REFUSED if value is None else value for value in filled)
