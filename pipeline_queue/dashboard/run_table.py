"""A sweep's ended runs as a table: filtered in the language of `--where`, sorted, a page of it, or all as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

from pipeline_queue.contract.records import Scalar
from pipeline_queue.dashboard.ended_rows import Ended, EndedRows
from pipeline_queue.model.conditions import parse
from pipeline_queue.model.main_metric import direction_of
from pipeline_queue.reporting.page import as_exact, page_data
from pipeline_queue.reporting.results import OWN_NAMES, SeenColumns, check_names

MAX_PLOTTED = 5_000
_OWN = ("run", "index", "state")


@dataclass(frozen=True, slots=True)
class Table:
    """The runs that were asked for, in order, of a sweep's columns."""

    columns: list[dict[str, Any]]
    runs: Sequence[Ended]


def select(ended: EndedRows, where: str, sort: str) -> Table:
    """Raises InputError for a wrong condition or an unknown column."""
    table: Table = ended.kept(("table", where, sort), lambda: _select(ended, where, sort))
    return table


def page_of(ended: EndedRows, where: str, sort: str, offset: int, limit: int) -> dict[str, Any]:
    """The answer of `/api/sweeps/<id>/runs`. Raises InputError."""
    table = select(ended, where, sort)
    names = [column["name"] for column in table.columns]
    return {
        "columns": table.columns,
        "rows": [_values_of(one.flat, names) for one in table.runs[offset : offset + limit]],
        "matched": len(table.runs),
        "total": ended.total,
        "version": ended.version,
        "reading": ended.progress(),
    }


def _values_of(flat: Mapping[str, Scalar | None], names: Sequence[str]) -> list[Scalar | None]:
    return [as_exact(flat.get(name)) for name in names]


def plot_of(ended: EndedRows, where: str, most: int) -> dict[str, Any]:
    """The answer of `/api/sweeps/<id>/plot`: at most `most` runs, spread evenly, the best of them kept."""
    answer: dict[str, Any] = ended.kept(("plot", where, most), lambda: _plot(ended, where, most))
    return {**answer, "version": ended.version, "reading": ended.progress()}


def _plot(ended: EndedRows, where: str, most: int) -> dict[str, Any]:
    runs = select(ended, where, "").runs
    chosen = _sampled(runs, most)
    data = page_data([one.row for one in chosen], ended.sweep.record.name or ended.sweep.record.id)
    sampled_from = len(runs) if len(chosen) < len(runs) else None
    return {**data, "ended_at": [one.ended_at for one in chosen], "sampled_from": sampled_from}


def _select(ended: EndedRows, where: str, sort: str) -> Table:
    runs, seen = ended.all(), ended.seen()
    columns = _columns(seen)
    known = [column["name"] for column in columns] if runs else None
    keys = [key.strip() for key in sort.split(",") if key.strip()]
    if known:
        check_names([key.removeprefix("-") for key in keys], known, "sort")
    if where.strip():
        condition = parse(where, known)
        names = condition.names()
        # Only what is compared: all of a run's values are many more.
        compared = zip(*(_values(runs, name) for name in names), strict=True)
        held = (condition.holds(dict(zip(names, values, strict=True))) for values in compared)
        runs = [one for one, holds in zip(runs, held, strict=True) if holds]
    for key in reversed(keys):
        runs = _ordered(runs, key)
    return Table(columns, runs)


def _columns(seen: SeenColumns) -> list[dict[str, Any]]:
    found = seen.columns()
    own = [*_OWN, *(["cause"] if seen.has_cause else [])]
    lows = {name for name in found.metrics if direction_of(name) == "lowest"}
    return [
        *({"name": name, "kind": "own"} for name in own),
        *({"name": name, "kind": "changed"} for name in found.changed),
        *({"name": name, "kind": "metric", **({"low": True} if name in lows else {})} for name in found.metrics),
        {"name": "seconds", "kind": "own"},
        *({"name": name, "kind": "constant"} for name in found.constant),
    ]


def _ordered(runs: Sequence[Ended], key: str) -> list[Ended]:
    """As `results.sort_rows` orders: missing values last, numbers before texts, equal runs as they were."""
    values = _values(runs, key.removeprefix("-"))
    present = [number for number, value in enumerate(values) if value is not None]
    kinds = {type(values[number]) for number in present}
    is_mixed = str in kinds and len(kinds) > 1
    rank: Callable[[int], Any] = (lambda number: _rank(values[number])) if is_mixed else values.__getitem__
    present.sort(key=rank, reverse=key.startswith("-"))
    missing = (number for number, value in enumerate(values) if value is None)
    return [runs[number] for number in chain(present, missing)]


def _values(runs: Sequence[Ended], name: str) -> list[Scalar | None]:
    """What `flat` has of each under one name, without making all the rest."""
    if name in OWN_NAMES:
        return list(map(attrgetter(f"row.{name}"), runs))
    if name == "cause" or name.startswith(("parameters.", "metrics.")):
        return [one.flat.get(name) for one in runs]
    rows = [one.row for one in runs]
    return [row.parameters[name] if name in row.parameters else row.metrics.get(name) for row in rows]


def _rank(value: Scalar | None) -> tuple[int, float, str]:
    return (1, 0.0, value) if isinstance(value, str) else (0, value or 0, "")


def _sampled(runs: Sequence[Ended], most: int) -> Sequence[Ended]:
    if len(runs) <= most:
        return runs
    chosen = {number * len(runs) // most for number in range(most)}
    metrics = {name for one in runs[:100] for name in one.row.metrics}
    for name in metrics:
        with_it = [number for number, one in enumerate(runs) if name in one.row.metrics]
        values = [runs[number].row.metrics[name] for number in with_it]
        if values:
            chosen |= {with_it[values.index(min(values))], with_it[values.index(max(values))]}
    return [runs[number] for number in sorted(chosen)]
