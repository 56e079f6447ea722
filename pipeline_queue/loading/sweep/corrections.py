"""Turns what a sweep includes and excludes into points and patterns of its product."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline_queue.contract.wording import counted, is_are, was_were
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.loading.sweep.nodes import PartialPoint
from pipeline_queue.loading.sweep.request import Requested
from pipeline_queue.model.pipeline import Parameter, Value
from pipeline_queue.space import Columns, Factor, Point, Product, Random, Values
from pipeline_queue.space.exclusion import Pattern

MAX_EXCLUDED = 5_000
MAX_SEARCHED_DRAWS = 100_000
"""To exclude random points all of them must be drawn."""


def included_points(
    findings: Findings,
    included: tuple[PartialPoint, ...],
    parameters: Mapping[str, Parameter],
    single: Mapping[str, Value],
    requested: Requested,
) -> Columns | None:
    """The included points, complete and each once; `single` are the defaults and the request's fixed values.

    A fixed value of the request replaces theirs; several values of it leave the points out that name the parameter.
    """
    rows: list[Point] = []
    overruled = 0
    for point in included:
        if any(name in requested.names and name not in requested.fixed for name in point.values):
            overruled += 1
            continue
        row = {**single, **point.values, **requested.fixed}
        for name in parameters:
            if name not in row:
                message = f"the included point has no value for {name!r}, which has no default"
                findings.problems.add(point.place, message, f"add `{name}: …`")
        rows.append(row)
    if overruled:
        what = f"{counted(overruled, 'included point')} {was_were(overruled)}"
        findings.notes.append(f"{included[0].place}: {what} left out, because the request gives other values")
    if not rows or findings.problems:
        return None
    columns = _columns(tuple(parameters), rows)
    distinct = columns.distinct()
    findings.note_duplicates(included[0].place, columns.count - distinct.count, "point", "include")
    return distinct


def without_members(findings: Findings, included: Columns, product: Product) -> Columns | None:
    """The included points that the product does not have; random points are not compared."""
    if any(isinstance(factor, Random) for factor in product.factors):
        return included
    rows = [included[index] for index in range(included.count)]
    new = [row for row in rows if not _has(product, row)]
    count = len(rows) - len(new)
    if count:
        what = f"{counted(count, 'included point')} {is_are(count)}"
        findings.notes.append(f"{what} already in the sweep")
    return _columns(included.names, new) if new else None


def excluded_patterns(
    findings: Findings, excluded: tuple[PartialPoint, ...], factors: tuple[Factor, ...], fixed: Mapping[str, Value]
) -> tuple[Pattern, ...]:
    """What is excluded, in terms of the factors' indexes."""
    if len(excluded) > MAX_EXCLUDED:
        message = f"{counted(len(excluded), 'point')} are excluded; at most {MAX_EXCLUDED:,} are possible"
        findings.problems.add(excluded[0].place, message, "name fewer parameters in each")
        return ()
    patterns: list[Pattern] = []
    for point in excluded:
        if any(name in fixed and fixed[name] != value for name, value in point.values.items()):
            pattern = None
        else:
            pattern = _pattern(findings, point, factors)
        if pattern is None:
            findings.notes.append(f"{point.place}: no such point to exclude")
        else:
            patterns.append(pattern)
    return tuple(patterns)


def _pattern(findings: Findings, point: PartialPoint, factors: tuple[Factor, ...]) -> Pattern | None:
    """Where the factors have the point's values; None when one of them does not."""
    pattern = []
    for factor in factors:
        part = {name: point.values[name] for name in factor.names if name in point.values}
        if part and isinstance(factor, Random) and factor.count > MAX_SEARCHED_DRAWS:
            message = f"random values cannot be excluded from more than {MAX_SEARCHED_DRAWS:,} points"
            findings.problems.add(point.place, message, "draw fewer, or from fewer choices")
            return None
        ranges = factor.matching(part) if part else None
        if ranges == ():
            return None
        pattern.append(None if ranges == ((0, factor.count),) else ranges)
    return tuple(pattern)


def _has(product: Product, row: Mapping[str, Value]) -> bool:
    if any(row[name] != value for name, value in product.fixed.items()):
        return False
    # Factors have no row twice, so the first match is the only one.
    found = [factor.matching({name: row[name] for name in factor.names}) for factor in product.factors]
    return all(found) and not product.kept.leaves_out(tuple(ranges[0][0] for ranges in found))


def _columns(names: tuple[str, ...], rows: list[Point]) -> Columns:
    return Columns({name: Values(tuple(row[name] for row in rows)) for name in names})
