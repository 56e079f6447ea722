"""A space answers for any member what a full expansion would have at that place, without expanding."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.records import Record
from pipeline_queue.model.pipeline import Value
from pipeline_queue.space import (
    Axis,
    Choice,
    Columns,
    Factor,
    Linspace,
    Logspace,
    LogUniform,
    Point,
    Points,
    Product,
    Random,
    Range,
    TooManyExclusionsError,
    Uniform,
    Values,
    WholeNumber,
    exclusion,
    space_from_json,
)
from pipeline_queue.space.exclusion import Pattern
from tests.hostile import HOSTILE

floats = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
small = st.floats(-1e6, 1e6).map(lambda value: value + 0.0)
whole = st.integers(-(10**30), 10**30)
columns_of_values = st.one_of(
    st.lists(floats, min_size=1, max_size=4, unique=True),
    st.lists(whole, min_size=1, max_size=4, unique=True),
    st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4, unique=True),
).map(lambda values: Values(tuple(values)))
computed_axes = st.one_of(
    st.builds(Range, whole, st.integers(-9, 9).filter(bool), st.integers(1, 4)),
    st.builds(Range, small, st.sampled_from([0.1, -0.25, 1e3]), st.integers(1, 4)),
    st.builds(Linspace, small, small.map(lambda value: value + 3e6), st.integers(2, 4)),
    st.builds(Linspace, st.integers(0, 9), st.integers(20, 99), st.integers(2, 5)),
    st.builds(Logspace, st.floats(1e-300, 1), st.floats(10, 1e300), st.integers(2, 4)),
)
draws = st.one_of(
    st.builds(lambda low, width: Uniform(low, low + width), small, st.floats(0, 1e6)),
    st.builds(lambda low, times: LogUniform(low, low * times), st.floats(1e-100, 1e100), st.floats(1, 1e9)),
    st.builds(lambda low, width: WholeNumber(low, low + width), whole, st.integers(0, 10**30)),
    st.lists(st.sampled_from(HOSTILE), min_size=1, unique=True).map(lambda values: Choice(tuple(values))),
)


@st.composite
def factors(draw: st.DrawFn, prefix: str) -> Factor:
    kind = draw(st.sampled_from(["grid", "rows", "random"]))
    if kind == "grid":
        return Columns({prefix: draw(st.one_of(columns_of_values, computed_axes))})
    if kind == "random":
        named = {f"{prefix}{number}": draw(draws) for number in range(draw(st.integers(1, 2)))}
        return Random(draw(st.integers(1, 4)), draw(st.integers(0, 99)), named)
    axes = draw(st.lists(columns_of_values, min_size=2, max_size=3))
    count = min(axis.count for axis in axes)
    return Columns({f"{prefix}{number}": Values(axis.values[:count]) for number, axis in enumerate(axes)})


@st.composite
def products(draw: st.DrawFn) -> tuple[Product, list[Mapping[str, Value]]]:
    """A product, and the partial points that it excludes."""
    parts = tuple(draw(factors(prefix)) for prefix in "abcd"[: draw(st.integers(0, 4))])
    names = [name for factor in parts for name in factor.names]
    fixed: dict[str, Value] = {"f": draw(st.sampled_from(HOSTILE)), "g": 3}
    declared = tuple(draw(st.permutations([*names, *fixed])))
    excluded: list[Mapping[str, Value]] = []
    for _ in range(draw(st.integers(0, 4))):
        rows = [factor[draw(st.integers(0, factor.count - 1))] for factor in parts]
        named = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
        if named:
            excluded.append({name: value for row in rows for name, value in row.items() if name in named})
    product = Product(
        names=declared,
        fixed=fixed,
        factors=parts,
        excluded=tuple(pattern_of(parts, part) for part in excluded),
        included=Columns({name: Values((1, 2)) for name in declared}) if draw(st.booleans()) else None,
        repeat=draw(st.integers(1, 3)),
        max_runs=draw(st.none() | st.integers(1, 40)),
    )
    return product, excluded


def pattern_of(parts: tuple[Factor, ...], part: Mapping[str, Value]) -> Pattern:
    named = [{name: part[name] for name in factor.names if name in part} for factor in parts]
    return tuple(factor.matching(own) if own else None for factor, own in zip(parts, named, strict=True))


def expanded(product: Product, excluded: list[Mapping[str, Value]]) -> list[Point]:
    """All members, the slow way."""
    rows = [[factor[index] for index in range(factor.count)] for factor in product.factors]
    points: list[dict[str, Value]] = []
    for combination in itertools.product(*rows):
        point = dict(product.fixed)
        for row in combination:
            point.update(row)
        if not any(all(point[name] == value for name, value in part.items()) for part in excluded):
            points.append(point)
    if product.included:
        points += [product.included[index] for index in range(product.included.count)]
    repeated = [point for point in points for _ in range(product.repeat)]
    return [{name: point[name] for name in product.names} for point in repeated[: product.max_runs]]


@given(products())
def test_every_member_is_that_of_the_full_expansion(case: tuple[Product, list[Mapping[str, Value]]]) -> None:
    product, excluded = case
    wanted = expanded(product, excluded)
    assert len(product) == len(wanted)
    members = [product[index] for index in range(len(product))]
    assert members == wanted
    assert all(tuple(member) == product.names for member in members)
    assert [product.repeat_of(index) for index in range(len(product))] == [
        index % product.repeat for index in range(len(product))
    ]
    differing = {name for name in product.names if len({member[name] for member in members}) > 1}
    assert differing <= set(product.varied)


class Holder(Record):
    """A record as `sweep.json` is one."""

    space: dict[str, Any]


@given(products())
def test_a_space_comes_back_from_its_record_exactly(case: tuple[Product, list[Mapping[str, Value]]]) -> None:
    product, _ = case
    record = Holder(space=product.as_json())
    for data in (
        json.loads(json.dumps(product.as_json())),
        Holder.model_validate_json(record.model_dump_json()).space,
    ):
        again = space_from_json(data)
        assert again == product
        assert again.as_json() == product.as_json()
        assert repr([again[index] for index in range(len(again))]) == repr(
            [product[index] for index in range(len(product))]
        )


def grid(*sizes: int, **others: Any) -> Product:
    names = tuple(f"p{number}" for number in range(len(sizes)))
    parts = tuple(Columns({name: Range(0, 1, size)}) for name, size in zip(names, sizes, strict=True))
    return Product(names=names, fixed={}, factors=parts, **others)


@pytest.mark.parametrize("space", [grid(3, 2), Points([{"x": 1}] * 6), grid(2, repeat=3), grid(10, max_runs=6)])
@pytest.mark.parametrize("index", [-1, -6, 6, 7, 10**30])
def test_an_index_outside_the_space_is_an_error(space: Product | Points, index: int) -> None:
    with pytest.raises(IndexError):
        space[index]
    with pytest.raises(IndexError):
        space.repeat_of(index)


def test_a_space_is_a_sequence_to_iterate_over() -> None:
    assert [list(point.values()) for point in grid(2, 2)] == [[0, 0], [0, 1], [1, 0], [1, 1]]  # type: ignore[attr-defined]


def test_a_huge_grid_answers_at_once() -> None:
    space = grid(10**4, 10**4, 10**4)
    assert len(space) == 10**12
    assert space[10**12 - 1] == {"p0": 9999, "p1": 9999, "p2": 9999}
    assert space[123_456_789_012] == {"p0": 1234, "p1": 5678, "p2": 9012}


def test_a_space_larger_than_any_list_still_has_a_size_and_members() -> None:
    space = grid(10**15, 10**15)
    assert space.size == 10**30
    assert space[10**30 - 1] == {"p0": 10**15 - 1, "p1": 10**15 - 1}
    assert len(replace(space, max_runs=10)) == 10


def test_a_huge_grid_is_excluded_from_without_expanding_it() -> None:
    # All points with p1 = 7, all with p2 = 5 and p0 = 3, and one single point.
    patterns: tuple[Pattern, ...] = (
        (None, ((7, 8),), None),
        (((3, 4),), None, ((5, 6),)),
        (((9, 10),), ((9, 10),), ((9, 10),)),
    )
    space = grid(10**6, 10**6, 10**6, excluded=patterns)
    assert space.size == 10**18 - 10**12 - (10**6 - 1) - 1
    assert space[7 * 10**6] == {"p0": 0, "p1": 8, "p2": 0}
    assert space[space.size - 1] == {"p0": 999_999, "p1": 999_999, "p2": 999_999}


def test_thousands_of_single_points_can_be_excluded() -> None:
    patterns = tuple((((number, number + 1),), ((number * 7 % 5000, number * 7 % 5000 + 1),)) for number in range(4000))
    space = grid(5000, 5000, excluded=patterns)
    assert space.size == 25_000_000 - 4000
    assert space[0] == {"p0": 0, "p1": 1}


def test_exclusions_that_cut_too_finely_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusion, "MAX_BOUNDARIES", 1000)
    # Which of these twenty can still match depends on all the choices before the last axis.
    last = len([None] * 20)
    patterns = tuple(
        tuple(((1, 2),) if level == number else ((0, 1),) if level == last else None for level in range(last + 1))
        for number in range(last)
    )
    with pytest.raises(TooManyExclusionsError):
        len(grid(*[2] * (last + 1), excluded=patterns))


def test_a_million_points_have_a_small_record() -> None:
    space = Product(
        names=("lr", "epochs"),
        fixed={},
        factors=(Columns({"lr": Logspace(1e-6, 1.0, 1000)}), Columns({"epochs": Range(0, 1, 1000)})),
    )
    assert len(space) == 1_000_000
    assert len(json.dumps(space.as_json())) < 500
    assert space[999_999] == {"lr": 1.0, "epochs": 999}


def test_a_million_listed_points_are_recorded_as_columns() -> None:
    values = Values(tuple(range(1_000_000)))
    space = Product(names=("x", "y"), fixed={}, factors=(Columns({"x": values, "y": values}),))
    assert space[999_999] == {"x": 999_999, "y": 999_999}
    assert len(json.dumps(space.as_json())) < 2 * 9_000_000


@given(small, st.sampled_from([0.1, 0.2, 0.3, -0.7, 1e-3]), st.integers(2, 100))
def test_a_range_of_floats_is_what_decimal_arithmetic_gives(start: float, step: float, count: int) -> None:
    axis = Range(start, step, count)
    for index in (0, 1, count - 1):
        assert axis[index] == float(Fraction(repr(start)) + index * Fraction(repr(step)))


def test_the_numbers_of_axes_are_the_ones_a_person_would_write() -> None:
    assert [Range(-0.3, 0.1, 7)[index] for index in range(7)] == [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]
    assert [Linspace(0.0, 1.0, 4)[index] for index in range(4)] == [0.0, 0.333333333333, 0.666666666667, 1.0]
    assert [Linspace(0, 10, 5)[index] for index in range(5)] == [0, 3, 5, 8, 10]
    assert [Logspace(1e-4, 1e-1, 4)[index] for index in range(4)] == [1e-4, 1e-3, 1e-2, 1e-1]
    assert [Logspace(0.1, 1e-4, 7)[index] for index in range(3)] == [0.1, 0.0316227766017, 0.01]
    assert Linspace(-1.7e308, 1.7e308, 3)[1] == 0.0


@given(computed_axes, st.data())
def test_a_computed_axis_finds_its_values_and_keeps_between_its_ends(axis: Axis, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, axis.count - 1))
    assert [number for start, stop in axis.matching(axis[index]) for number in range(start, stop)] == [
        number for number in range(axis.count) if axis[number] == axis[index]
    ]
    first, last, value = (cast(float, axis[at]) for at in (0, axis.count - 1, index))
    assert min(first, last) <= value <= max(first, last)
    assert type(axis[index]) is type(axis[0])
    assert axis.matching(10**60) == axis.matching("x") == ()


@given(draws, st.integers(0, 2**512 - 1))
def test_a_draw_never_leaves_its_ends(draw: Any, bits: int) -> None:
    for chance in (0, bits, 2**512 - 1):
        value = draw.value(chance)
        if isinstance(draw, Choice):
            assert value in draw.values
        else:
            assert draw.low <= value <= draw.high
            assert type(value) is type(draw.low)


@pytest.mark.parametrize(
    ("draw", "members"),
    [
        (Uniform(0.0, 1.0), [0.730792702452, 0.505045289486, 0.104125015838, 0.993841982736]),
        (LogUniform(1e-4, 1e-1), [0.0155732088306, 0.00327443119006, 0.000205293428409, 0.0958353974285]),
        (LogUniform(1, 1000), [156, 33, 2, 958]),
        (WholeNumber(-5, 5), [3, 0, -4, 5]),
        (Choice(("sgd", "adam", "rms")), ["rms", "adam", "sgd", "rms"]),
    ],
)
def test_a_seed_gives_the_same_members_for_ever(draw: Any, members: list[Value]) -> None:
    drawn = Random(10**9, 7, {"x": draw})
    assert [drawn[index]["x"] for index in (0, 1, 2, 999_999_999)] == members


def test_a_random_value_depends_on_seed_name_and_index_only() -> None:
    one = Random(10, 7, {"x": Uniform(0.0, 1.0), "y": Uniform(0.0, 1.0)})
    assert one[3]["x"] == Random(99, 7, {"x": Uniform(0.0, 1.0)})[3]["x"]
    assert len({one[3]["x"], one[3]["y"], one[4]["x"], Random(10, 8, one.draws)[3]["x"]}) == 4


def test_draws_spread_as_they_should() -> None:
    drawn = Random(2000, 1, {"u": Uniform(-1.0, 3.0), "l": LogUniform(1e-4, 1.0), "i": WholeNumber(1, 4)})
    rows = [drawn[index] for index in range(2000)]
    assert abs(sum(float(row["u"]) for row in rows) / 2000 - 1) < 0.15
    assert abs(sum(math.log10(float(row["l"])) for row in rows) / 2000 + 2) < 0.15
    assert {row["i"] for row in rows} == {1, 2, 3, 4}
    assert all(430 < sum(row["i"] == number for row in rows) < 570 for number in range(1, 5))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"v": 2, "kind": "points"},
        {"v": 1, "kind": "adaptive"},
        {"v": 1, "kind": "product"},
        {"v": 1, "kind": "points"},
    ],
)
def test_a_record_of_another_version_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(StorageError):
        space_from_json(data)


@settings(max_examples=20)
@given(st.lists(st.fixed_dictionaries({"x": floats, "s": st.sampled_from(HOSTILE)}), max_size=3))
def test_points_come_back_from_their_record(points: list[Point]) -> None:
    space = Points(tuple(points))
    assert space_from_json(json.loads(json.dumps(space.as_json()))) == space
    assert [space[index] for index in range(len(space))] == points
