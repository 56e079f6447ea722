"""Reads points from CSV and JSONL files, by the declared types, with every problem at its line.

CSV: comma-separated UTF-8, the first row names parameters, an empty cell is the parameter's default. Rows of nothing
but empty cells and columns without a name, as spreadsheets leave them, are left out.
JSONL: one object a line, blank lines skipped; null is the parameter's default. Objects of nothing but nulls are left
out as such rows are.
"""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.loading.sweep.rows import Rows
from pipeline_queue.model.list_values import list_text
from pipeline_queue.model.pipeline import Parameter
from pipeline_queue.model.problems import quoted
from pipeline_queue.space import Columns

MAX_BYTES = 256 * 1024 * 1024
MAX_POINTS = 2_000_000

_MARK = b"\xef\xbb\xbf"


class _RefusedError(Exception):
    """The rest of the file cannot be read; the problem is recorded already."""


def read_points_file(
    findings: Findings, parameters: Mapping[str, Parameter], path: Path, shown: str, asked_at: Place | None = None
) -> Columns | None:
    """The points of a `.csv` or `.jsonl` file, or None with problems.

    `shown` is what places call the file, `asked_at` where it was asked for, if that is a place in a file.
    """
    whole = Place(shown)
    rows = Rows(findings, parameters, whole, lambda line: Place(shown, line, 1))
    file = _PointsFile(findings, parameters, shown, rows)
    try:
        if path.suffix.lower() not in (".csv", ".jsonl"):
            hint = "use a file that ends in .csv or .jsonl"
            findings.problems.add(asked_at or whole, f"{quoted(path.name)} is neither CSV nor JSONL", hint)
            return None
        if not stat.S_ISREG(path.stat().st_mode):
            findings.problems.add(
                asked_at or whole, f"{quoted(path.name)} is not a regular file", "give a file of points"
            )
            return None
        with path.open("rb") as stream:
            lines = file.decoded(stream)
            file.read_csv(lines) if path.suffix.lower() == ".csv" else file.read_jsonl(lines)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        findings.problems.add(asked_at or whole, f"{quoted(path.name)} cannot be read: {reason}", "check the path")
        return None
    except _RefusedError:
        return None
    return rows.columns()


class _PointsFile:
    def __init__(self, findings: Findings, parameters: Mapping[str, Parameter], shown: str, rows: Rows) -> None:
        self._findings = findings
        self._parameters = parameters
        self._shown = shown
        self._rows = rows
        self._unknown: set[str] = set()
        self._empty_rows = 0
        self._spaced: dict[str, int] = {}

    def decoded(self, stream: Iterable[bytes]) -> Iterator[str]:
        """The file's lines, within its limits."""
        size = 0
        for number, line in enumerate(stream, start=1):
            size += len(line)
            if size > MAX_BYTES:
                self._refuse(number, f"the file is larger than {MAX_BYTES:,} bytes", "split it into several sweeps")
            try:
                yield (line.removeprefix(_MARK) if number == 1 else line).decode()
            except UnicodeDecodeError:
                self._refuse(number, "the file is not valid UTF-8 here", "save the file as UTF-8")

    def read_csv(self, lines: Iterator[str]) -> None:
        reader = csv.reader(lines, strict=True)
        names: list[str] | None = None
        line = 1
        try:
            for cells in reader:
                if names is None and cells:
                    names = self._header(line, cells)
                elif cells and names is not None:
                    self._take_cells(line, names, cells)
                line = reader.line_num + 1
            self._findings.note_left_out(Place(self._shown), self._empty_rows, "row", "of empty cells")
            for name, at in self._spaced.items():
                place = Place(self._shown, at, 1)
                self._findings.notes.append(
                    f"{place}: the value of {name!r} begins or ends with a space, which is kept"
                )
        except csv.Error as error:
            self._refuse(line, f"invalid CSV: {error}", "put a value with quotes or commas in double quotes")

    def read_jsonl(self, lines: Iterator[str]) -> None:
        decoder = json.JSONDecoder(
            object_pairs_hook=_Pairs, parse_float=str, parse_int=str, parse_constant=str, strict=False
        )
        for number, line in enumerate(lines, start=1):
            if not line.isspace():
                self._take_object(number, line, decoder)
        self._findings.note_left_out(Place(self._shown), self._empty_rows, "object", "without a value")

    def _header(self, line: int, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        while names and not names[-1]:
            names.pop()
        for position, name in enumerate(names):
            if name in names[:position]:
                self._add(line, f"duplicate column {quoted(name)}", "remove one of the two")
        known = [self._is_known(line, name) for name in names]
        if not all(known):
            if len(names) == 1 and any(separator in names[0] for separator in ";\t"):
                self._add(line, "the columns are not separated by commas", "save the file with commas")
            raise _RefusedError
        return names

    def _take_cells(self, line: int, names: list[str], cells: list[str]) -> None:
        if not any(cell.strip() for cell in cells):
            self._empty_rows += 1
            return
        while len(cells) > len(names) and not cells[-1].strip():
            cells.pop()
        if len(cells) != len(names):
            count = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}"
            self._add(line, f"the row has {count}, but the first row has {len(names)}", "quote values that hold commas")
            return
        for name, cell in zip(names, cells, strict=True):
            parameter = self._parameters.get(name)
            if cell != cell.strip() and parameter is not None and parameter.type == "string":
                self._spaced.setdefault(name, line)
        self._add_row(line, {name: cell or None for name, cell in zip(names, cells, strict=True)})

    def _take_object(self, line: int, text: str, decoder: json.JSONDecoder) -> None:
        try:
            data = decoder.decode(text.strip())
        except (ValueError, RecursionError) as error:
            place = Place(self._shown, line, getattr(error, "colno", 1))
            reason = getattr(error, "msg", "nested too deeply")
            self._findings.problems.add(place, f"invalid JSON: {reason}", "write one object in each line")
            self._stop_when_enough()
            return
        if not isinstance(data, _Pairs):
            self._add(line, "this is not a JSON object", 'write one object in each line, such as {"x": 1}')
            return
        texts: dict[str, str | None] = {}
        for name, value in data:
            if name in texts:
                self._add(line, f"duplicate key {quoted(name)}", "remove one of the two")
            elif type(value) is list and name in self._parameters and self._parameters[name].is_list:
                texts[name] = list_text(value)
            elif isinstance(value, list):
                kind = "an object" if isinstance(value, _Pairs) else "a list"
                self._add(line, f"{quoted(name)} must be a single value, not {kind}")
            elif self._is_known(line, name):
                # Numbers are texts already; true and false are not.
                texts[name] = None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        if not data or (texts and not any(text is not None for text in texts.values()) and len(texts) == len(data)):
            self._empty_rows += 1
        else:
            self._add_row(line, texts)

    def _add_row(self, line: int, texts: Mapping[str, str | None]) -> None:
        if len(self._rows) >= MAX_POINTS:
            self._refuse(line, f"the file has more than {MAX_POINTS:,} points", "split it into several sweeps")
        self._rows.add(line, texts)
        self._stop_when_enough()

    def _is_known(self, line: int, name: str) -> bool:
        """Says so once for every unknown name."""
        if name in self._parameters or name in self._unknown:
            return name in self._parameters
        self._unknown.add(name)
        return self._findings.declared(Place(self._shown, line, 1), name, self._parameters) is not None

    def _add(self, line: int, message: str, hint: str = "") -> None:
        self._findings.problems.add(Place(self._shown, line, 1), message, hint)
        self._stop_when_enough()

    def _refuse(self, line: int, message: str, hint: str) -> NoReturn:
        self._add(line, message, hint)
        raise _RefusedError

    def _stop_when_enough(self) -> None:
        if self._findings.problems.are_enough:
            raise _RefusedError


class _Pairs(list[tuple[str, object]]):
    """The members of a JSON object, also those whose names come twice."""
