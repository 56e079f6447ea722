"""The `sweep:` of a pipeline file becomes a space, or every problem of it at once with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_queue.contract.errors import InputError, PipelineFileError
from pipeline_queue.loading.sweep import check_sweep
from pipeline_queue.model.parameters import check_bounds
from pipeline_queue.model.sweep_settings import SweepSettings
from pipeline_queue.space import space_from_json
from tests.unit.sweep_files import PARAMETERS, built, load, refusals, rows

HOSTILE = ["a b", "'", '"', "$HOME", ";", "a\nb", "\\", "a=b", "0", "0.0", "false", "", "-x", "a,b", "range(1,2)"]


def test_a_grid_varies_its_last_axis_fastest(tmp_path: Path) -> None:
    assert rows(tmp_path, "{grid: {optimizer: [sgd, adam], lr: [1e-3, 0.1]}}") == [
        (0.001, "sgd"),
        (0.1, "sgd"),
        (0.001, "adam"),
        (0.1, "adam"),
    ]


def test_a_member_has_every_parameter_in_declared_order(tmp_path: Path) -> None:
    space = built(tmp_path, "{grid: {epochs: 3, lr: [1, 2]}}").space
    assert list(space[1].items()) == [
        ("lr", 2.0),
        ("epochs", 3),
        ("optimizer", "sgd"),
        ("note", ""),
        ("fast", False),
    ]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("{range: [0, 0.3, 0.1]}", [0.0, 0.1, 0.2]),
        ("{range: [1, 4]}", [1.0, 2.0, 3.0]),
        ("{range: [3]}", [0.0, 1.0, 2.0]),
        ("{range: [1, 0, -0.5]}", [1.0, 0.5]),
        ("{linspace: [0, 1, 5]}", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("{logspace: [1e-4, 1e-1, 4]}", [0.0001, 0.001, 0.01, 0.1]),
        ("{logspace: [1, 1, 1]}", [1.0]),
        ("[1e-3, .5, 5]", [0.001, 0.5, 5.0]),
        ("7", [7.0]),
    ],
)
def test_an_axis_can_be_computed(tmp_path: Path, axis: str, values: list[float]) -> None:
    space = built(tmp_path, f"{{grid: {{lr: {axis}}}}}").space
    assert [space[index]["lr"] for index in range(len(space))] == values


@pytest.mark.parametrize(
    ("axis", "values", "note"),
    [
        ("{linspace: [1, 4, 7]}", [1, 2, 3, 4], "epochs: 3 duplicate values were left out"),
        ("{linspace: [5, 1, 6]}", [5, 4, 3, 2, 1], "epochs: 1 duplicate value was left out"),
        ("{logspace: [1, 8, 7]}", [1, 2, 3, 4, 6, 8], "epochs: 1 duplicate value was left out"),
        ("{linspace: [3, 3, 4]}", [3], "epochs: 3 duplicate values were left out"),
        ("[1, '+1', 2]", [1, 2], "epochs: 1 duplicate value was left out"),
    ],
)
def test_whole_numbers_that_come_twice_are_left_out_and_told(
    tmp_path: Path, axis: str, values: list[int], note: str
) -> None:
    one = built(tmp_path, f"{{grid: {{epochs: {axis}}}}}")
    assert [one.space[index]["epochs"] for index in range(len(one.space))] == values
    assert [text.partition(": ")[2] for text in one.notes] == [note]


def test_two_spellings_of_a_number_are_one_value(tmp_path: Path) -> None:
    one = built(tmp_path, "{grid: {lr: [1e-3, 0.001, 0.0010]}}")
    assert (len(one.space), len(one.notes)) == (1, 1)


def test_hostile_texts_arrive_as_they_are(tmp_path: Path) -> None:
    space = built(tmp_path, f"{{grid: {{note: {json.dumps(HOSTILE)}}}}}").space
    assert [space[index]["note"] for index in range(len(space))] == HOSTILE
    again = space_from_json(json.loads(json.dumps(space.as_json())))
    assert [again[index]["note"] for index in range(len(again))] == HOSTILE


def test_a_zip_goes_through_its_axes_together(tmp_path: Path) -> None:
    assert rows(
        tmp_path, "{zip: {lr: {linspace: [0, 1, 3]}, epochs: {linspace: [1, 2, 3]}}, grid: {fast: [no, yes]}}"
    ) == [
        (0.0, 1, False),
        (0.0, 1, True),
        (0.5, 2, False),
        (0.5, 2, True),
        (1.0, 2, False),
        (1.0, 2, True),
    ]


def test_rows_of_a_zip_that_come_twice_are_left_out_and_told(tmp_path: Path) -> None:
    one = built(tmp_path, "{zip: {epochs: [1, 1, 2], optimizer: [sgd, sgd, sgd]}}")
    assert len(one.space) == 2
    assert one.notes[0].endswith("1 duplicate point was left out")


def test_listed_points_take_defaults_for_what_they_do_not_name(tmp_path: Path) -> None:
    one = built(tmp_path, "{list: [{lr: 1, epochs: 3}, {lr: 2}, {lr: 2, epochs: 10}]}")
    assert [(one.space[index]["lr"], one.space[index]["epochs"]) for index in range(len(one.space))] == [
        (1.0, 3),
        (2.0, 10),
    ]
    assert one.notes[0].endswith("1 duplicate point was left out")


def test_random_points_are_the_same_every_time(tmp_path: Path) -> None:
    sweep = (
        "{random: {count: 3, seed: 7, parameters: {lr: {loguniform: [1e-4, 1e-1]}, epochs: {int: [1, 100]},"
        " optimizer: [sgd, adam], fast: {choice: [yes, no]}}}}"
    )
    assert rows(tmp_path, sweep) == rows(tmp_path, sweep)
    assert rows(tmp_path, sweep)[0] == (0.0468818579698, 24, "adam", False)


def test_points_are_excluded_and_included(tmp_path: Path) -> None:
    sweep = (
        "{grid: {lr: [1, 2], optimizer: [sgd, adam]}, exclude: [{lr: 1, optimizer: adam}, {epochs: 99}],"
        " include: [{lr: 5, epochs: 3}, {lr: 2, optimizer: adam}]}"
    )
    one = built(tmp_path, sweep)
    members = [tuple(one.space[index].values())[:3] for index in range(len(one.space))]
    assert members == [(1.0, 10, "sgd"), (2.0, 10, "sgd"), (2.0, 10, "adam"), (5.0, 3, "sgd")]
    assert [text.replace(f"{tmp_path}/", "") for text in one.notes] == [
        "demo.yaml:9:91: no such point to exclude",
        "1 included point is already in the sweep",
    ]


def test_included_points_alone_are_a_sweep(tmp_path: Path) -> None:
    assert rows(tmp_path, "{include: [{lr: 1}, {lr: 2, fast: yes}]}") == [(1.0, False), (2.0, True)]


def test_random_points_can_be_excluded_by_what_was_chosen(tmp_path: Path) -> None:
    draws = "random: {count: 40, parameters: {optimizer: [sgd, adam], epochs: {int: [1, 2]}}}"
    members = rows(tmp_path, f"{{{draws}}}")
    kept = rows(tmp_path, f"{{{draws}, exclude: [{{optimizer: adam, epochs: 2}}]}}")
    assert kept == [member for member in members if member != (2, "adam")]
    assert len(kept) < 40


def test_repetitions_are_members_of_their_own(tmp_path: Path) -> None:
    space = built(tmp_path, "{grid: {lr: [1, 2]}, repeat: 3, max_runs: 5}").space
    assert [(space[index]["lr"], space.repeat_of(index)) for index in range(len(space))] == [
        (1.0, 0),
        (1.0, 1),
        (1.0, 2),
        (2.0, 0),
        (2.0, 1),
    ]


def test_a_file_without_a_sweep_is_one_point(tmp_path: Path) -> None:
    one = built(tmp_path)
    assert len(one.space) == 1
    assert (one.settings, one.notes) == (SweepSettings(), ())


def test_settings_come_with_the_sweep(tmp_path: Path) -> None:
    sweep = "{max_parallel: 8, priority: low, on_failure: stop, max_failures: 0}"
    assert built(tmp_path, sweep).settings == SweepSettings(8, "low", "stop", 0)
    assert built(tmp_path, sweep, priority="high", max_parallel=2).settings == SweepSettings(2, "high", "stop", 0)


def test_every_problem_is_told_at_its_place(tmp_path: Path) -> None:
    text = """
    grid: {lrr: [1], epochs: {rang: [1]}, optimizer: [sgd, adm], lr: [1, -1, x]}
    zipp: 3
    zip: {fast: [yes, no], note: [a]}
    list: [{lr: 1}, 7]
    csv: nope.csv
    random: {cont: 3}
    include: [{q: 1}]
    exclude: 3
    repeat: 0
    max_parallel: many
    priority: hihg
"""
    assert [problem.partition(" (")[0] for problem in refusals(tmp_path, text)] == [
        "demo.yaml:10:12: unknown parameter 'lrr'",
        "demo.yaml:10:31: the values of 'epochs' cannot be 'rang'",
        "demo.yaml:10:60: parameter optimizer: 'adm' is not one of the choices",
        "demo.yaml:10:74: parameter lr: -1.0 is below the minimum",
        "demo.yaml:10:78: parameter lr: 'x' is not a number",
        "demo.yaml:11:5: unknown key 'zipp' in the sweep",
        "demo.yaml:12:10: axes of a zip must have equal length, but fast has 2, note has 1",
        "demo.yaml:13:21: a point of list must be a mapping, not a single value",
        "demo.yaml:14:10: 'nope.csv' cannot be read: No such file or directory",
        "demo.yaml:15:13: random has no count",
        "demo.yaml:15:13: random has no parameters",
        "demo.yaml:15:14: unknown key 'cont' in random",
        "demo.yaml:16:16: unknown parameter 'q'",
        "demo.yaml:17:14: exclude of the sweep must be a list, not a single value",
        "demo.yaml:18:13: repeat of the sweep: 0 is below the minimum",
        "demo.yaml:19:19: max_parallel of the sweep: 'many' is not a whole number",
        "demo.yaml:20:15: priority of the sweep: 'hihg' is not one of the choices",
    ]


@pytest.mark.parametrize(
    ("sweep", "problem"),
    [
        ("{grid: {lr: []}}", "the list has no values"),
        ("{grid: {lr: {range: [0, 1, 0]}}}", "the step is 0"),
        ("{grid: {lr: {range: [1, 0]}}}", "there are no values from 1.0 to 0.0 in steps of 1.0"),
        ("{grid: {lr: {range: [0, 11, 5]}}}", None),
        ("{grid: {lr: {range: [0, 11]}}}", None),
        ("{grid: {lr: {range: [0, 11.5]}}}", "11.0 is above the maximum"),
        ("{grid: {lr: {range: [1, 2, 1e-17]}}}", "there are 100,000,000,000,000,000 values"),
        ("{grid: {lr: {range: [1, 1.000000001, 2e-16]}}}", "the step is too small"),
        ("{grid: {lr: {range: 3}}}", "range takes a list, not a single value"),
        ("{grid: {lr: {range: [1, 2, 3, 4]}}}", "range takes start, stop (not included) and step; here are 4"),
        ("{grid: {lr: {linspace: [1, 2]}}}", "linspace takes the first value, the last and how many"),
        ("{grid: {lr: {linspace: [1, 2, 1]}}}", "one value cannot be both ends"),
        ("{grid: {lr: {linspace: [1, 2, 0]}}}", "how many values: 0 is below the minimum"),
        ("{grid: {lr: {linspace: [1, 2, 1e3]}}}", "how many values: '1e3' is not a whole number"),
        ("{grid: {lr: {linspace: [1, 1.0000000001, 1000]}}}", "are not distinct in 12 digits"),
        ("{grid: {lr: {logspace: [0, 1, 5]}}}", "logspace needs positive ends"),
        ("{grid: {lr: {logspace: [1, 100, 5]}}}", "100.0 is above the maximum"),
        ("{grid: {epochs: {range: [1, 2, 0.5]}}}", "'0.5' is not a whole number"),
        ("{grid: {epochs: {linspace: [0, 5, 3]}}}", "0 is below the minimum"),
        ("{grid: {epochs: {logspace: [1, 10, 30000]}}}", "at most 20,000 values"),
        ("{grid: {epochs: 'range(1,5)'}}", "range(…) is command-line syntax"),
        ("{grid: {optimizer: {range: [1, 3]}}}", "range gives numbers, but this is a string"),
        ("{grid: {lr: {range: [1], linspace: [1]}}}", "must be a list or have one key"),
        ("{grid: {lr: [[1]]}}", "must be a single value, not a list"),
        ("{grid: {lr: }}", "has no value"),
        ("{grid: 3}", "grid of the sweep must be a mapping, not a single value"),
        ("{grid: {lr: 1}, zip: {lr: [1]}}", "'lr' is in grid and in zip"),
        ("{zip: {epochs: {linspace: [1, 2, 2000000]}}}", "too many for a zip"),
        ("{list: []}", "no points here"),
        ("{list: [{lr: 11}]}", "11.0 is above the maximum"),
        ("{random: {count: 2, parameters: {lr: {uniform: [0, 11]}}}}", "11.0 is above the maximum"),
        ("{random: {count: 2, parameters: {lr: {uniform: [2, 1]}}}}", "the lowest value 2.0 is above the highest 1.0"),
        ("{random: {count: 2, parameters: {lr: {uniform: [2]}}}}", "uniform takes the lowest value and the highest"),
        ("{random: {count: 2, parameters: {lr: {loguniform: [0, 1]}}}}", "loguniform needs positive values"),
        ("{random: {count: 2, parameters: {lr: {int: [0, 1]}}}}", "int does not fit a parameter of type float"),
        (
            "{random: {count: 2, parameters: {epochs: {uniform: [1, 2]}}}}",
            "uniform does not fit a parameter of type int",
        ),
        ("{random: {count: 2, parameters: {optimizer: {choice: [sgd, x]}}}}", "'x' is not one of the choices"),
        ("{random: {count: 2, parameters: {optimizer: {choice: []}}}}", "choice has no values"),
        ("{random: {count: 0, parameters: {lr: [1]}}}", "count of random: 0 is below the minimum"),
        ("{random: {count: 1, seed: x, parameters: {lr: [1]}}}", "seed of random: 'x' is not a whole number"),
        ("{random: [1]}", "random of the sweep must be a mapping, not a list"),
        ("{csv: points.txt}", "a file of csv must end in .csv"),
        ("{csv: [a.csv]}", "csv of the sweep must be a single value"),
        ("{exclude: [{}]}", "a point of exclude names no parameter"),
        ("{grid: {lr: [1, 2]}, exclude: [{lr: 1}, {lr: 2}]}", "every point is excluded"),
        ("{random: {count: 200000, parameters: {lr: [1]}}, exclude: [{lr: 1}]}", "random values cannot be excluded"),
        ("{grid: {lr: {linspace: [0, 1, 100000]}, epochs: {range: [1, 100000]}}}", "the sweep has 9,999,900,000 runs"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, sweep: str, problem: str | None) -> None:
    if problem is None:
        assert built(tmp_path, sweep)
        return
    told = refusals(tmp_path, sweep)
    assert len(told) == 1
    assert problem in told[0]
    assert told[0].startswith("demo.yaml:9:")


def test_choices_are_checked_for_every_value_of_a_computed_axis(tmp_path: Path) -> None:
    parameters = "    x: {type: int, choices: [1, 3, 5, 6]}\n"
    assert rows(tmp_path, "{grid: {x: {range: [1, 6, 2]}}}", parameters) == [(1,), (3,), (5,)]
    assert "'2' is not one of the choices" in refusals(tmp_path, "{grid: {x: {range: [1, 7]}}}", parameters)[0]
    told = refusals(tmp_path, "{random: {count: 1, parameters: {x: {int: [1, 5]}}}}", parameters)
    assert "int may give values that are not among the choices" in told[0]


def test_a_parameter_without_any_value_is_a_problem_beside_the_others(tmp_path: Path) -> None:
    parameters = "    x: {type: int}\n    y: {type: int}\n    z: {type: int}\n"
    assert [problem.partition(" (")[0] for problem in refusals(tmp_path, "{grid: {x: [a]}}", parameters)] == [
        "demo.yaml:7:22: parameter x: 'a' is not a whole number",
        "demo.yaml:4:5: the parameter 'y' has no default and was given no value",
        "demo.yaml:5:5: the parameter 'z' has no default and was given no value",
    ]
    told = refusals(tmp_path, "{list: [{x: 1, y: 1, z: 1}, {x: 2, y: 2}]}", parameters)
    assert told[0].startswith("demo.yaml:7:38: parameter z: no value here, and no default")
    told = refusals(tmp_path, "{grid: {x: [1], y: [2], z: [3]}, include: [{x: 1, y: 2}]}", parameters)
    assert told[0].startswith("demo.yaml:7:53: the included point has no value for 'z', which has no default")


def test_a_sweep_can_be_checked_without_values(tmp_path: Path) -> None:
    parameters = "    x: {type: int}\n    y: {type: int}\n"
    assert len(check_sweep(load(tmp_path, "{grid: {x: [1, 1]}}", parameters))) == 1
    with pytest.raises(PipelineFileError):
        check_sweep(load(tmp_path, "{grid: {x: [a]}}", parameters))


numbers = st.one_of(
    st.integers(-5, 15).map(str),
    st.floats(-5, 15).map(repr),
    st.sampled_from(["0", "1e-3", "10", "9.999999999999999", "1e-300", "0.1", "1e300"]),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["range", "linspace", "logspace"]),
    st.sampled_from(["uniform", "loguniform", "int"]),
    st.sampled_from(["lr", "epochs"]),
    numbers,
    numbers,
    st.one_of(st.integers(1, 50).map(str), numbers),
)
def test_what_is_accepted_never_leaves_its_bounds(
    tmp_path: Path, form: str, draw: str, name: str, first: str, last: str, third: str
) -> None:
    sweeps = (
        f"{{grid: {{{name}: {{{form}: [{first}, {last}, {third}]}}}}, max_runs: 200}}",
        f"{{random: {{count: 50, parameters: {{{name}: {{{draw}: [{first}, {last}]}}}}}}}}",
    )
    for sweep in sweeps:
        try:
            space = built(tmp_path, sweep).space
        except InputError:
            continue
        parameter = load(tmp_path, sweep).pipeline.parameter(name)
        for index in {*range(len(space))}:
            value = space[index][name]
            check_bounds(parameter, value)
            assert type(value) is (float if name == "lr" else int)
        members = [space[index][name] for index in range(len(space))]
        assert len(set(members)) == len(members) or "random" in sweep


def test_the_parameters_of_these_tests_fill_their_lines() -> None:
    assert PARAMETERS.count("\n") == 5
