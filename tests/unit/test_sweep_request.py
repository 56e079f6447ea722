"""What the command line or a Python caller asks for becomes a space, and wins over the file's `sweep:`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_queue.contract.errors import PipelineFileError, Place, ValuesError
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.model.parameters import Given
from pipeline_queue.model.pipeline import Value
from tests.unit.sweep_files import built, load, refusals, rows

HOSTILE = [
    " ",
    "a b",
    "'",
    '"',
    "$HOME",
    ";",
    "a\nb",
    "\\",
    "a=b",
    "0",
    "0.0",
    "false",
    "",
    "-x",
    "a,b",
    "\\,",
    "[",
    "x)",
]


def values(folder: Path, name: str, text: str, **asked: Any) -> list[Value]:
    space = built(folder, texts=(f"{name}={text}",), **asked).space
    return [space[index][name] for index in range(len(space))]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("lr", "0.001,0.01,1e-1", [0.001, 0.01, 0.1]),
        ("lr", " 1 , 2 ", [1.0, 2.0]),
        ("lr", "5", [5.0]),
        ("lr", "[1, 2.5]", [1.0, 2.5]),
        ("epochs", "range(10,50,10)", [10, 20, 30, 40]),
        ("epochs", "range(3, 1, -1)", [3, 2]),
        ("epochs", " linspace ( 1 , 9 , 3 ) ", [1, 5, 9]),
        ("lr", "logspace(1e-4,1e-1,4)", [0.0001, 0.001, 0.01, 0.1]),
        ("lr", "linspace([0, 1, 3])", [0.0, 0.5, 1.0]),
        ("fast", '[true, "no"]', [True, False]),
        ("fast", "yes,off", [True, False]),
        ("note", "a,b", ["a", "b"]),
        ("note", "a\\,b,c", ["a,b", "c"]),
        ("note", "a,", ["a", ""]),
        ("note", "", [""]),
        ("note", '["a,b", "c"]', ["a,b", "c"]),
        ("note", "[1.10, true]", ["1.10", "true"]),
        ("note", '["range(1,2)"]', ["range(1,2)"]),
        ("note", "[not json", ["[not json"]),
        ("note", "f(x)", ["f(x)"]),
        ("note", "a=b", ["a=b"]),
    ],
)
def test_a_text_gives_values(tmp_path: Path, name: str, text: str, wanted: list[Value]) -> None:
    assert values(tmp_path, name, text) == wanted


@pytest.mark.parametrize("text", HOSTILE)
def test_a_json_list_takes_any_text_as_it_is(tmp_path: Path, text: str) -> None:
    assert values(tmp_path, "note", json.dumps([text])) == [text]
    assert values(tmp_path, "note", json.dumps([text, "other"])) == [text, "other"]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, unique=True))
def test_any_texts_arrive_through_a_json_list(tmp_path: Path, texts: list[str]) -> None:
    assert values(tmp_path, "note", json.dumps(texts)) == texts


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["lr", "epochs", "note", "fast", "optimizer"]), st.text(), st.none() | st.integers(1, 3))
def test_no_text_brings_anything_but_values_or_a_refusal(tmp_path: Path, name: str, text: str, random: int) -> None:
    loaded = load(tmp_path)
    try:
        space = build_space(loaded, SweepRequest(texts=(f"{name}={text}",), random=random)).space
    except ValuesError as error:
        assert all(str(problem).isprintable() for problem in error.problems)
        return
    assert space[len(space) - 1][name] is not None


def test_axes_form_a_grid_in_the_order_given(tmp_path: Path) -> None:
    assert rows(tmp_path, texts=("epochs=1,2", "lr=3,4", "optimizer=adam")) == [(3, 1), (4, 1), (3, 2), (4, 2)]


def test_zipped_axes_go_together_where_the_first_of_them_stands(tmp_path: Path) -> None:
    texts = ("lr=1,2", "fast=no,yes", "epochs=5,6")
    assert rows(tmp_path, texts=texts, zips=("epochs,lr",)) == [
        (1, 5, False),
        (1, 5, True),
        (2, 6, False),
        (2, 6, True),
    ]
    assert rows(tmp_path, texts=("lr=1,1,2",), zips=("lr",)) == [(1,), (2,)]


def test_random_values_need_a_number_and_take_a_seed(tmp_path: Path) -> None:
    texts = ("lr=uniform(0,1)", "epochs=int(1,6)", "optimizer=choice(sgd,adam)", "fast=yes,no")
    drawn = rows(tmp_path, texts=texts, random=3, seed=7)
    assert len(drawn) == 6
    assert drawn == rows(tmp_path, texts=texts, random=3, seed=7)
    assert drawn != rows(tmp_path, texts=texts, random=3)
    # The grid's values vary slowest: all draws for one, then the same draws for the other.
    assert [row[:3] for row in drawn[:3]] == [row[:3] for row in drawn[3:]]
    assert "need a number of points" in refusals(tmp_path, texts=("lr=uniform(0,1)",))[0]


def test_repetitions_and_limits_are_asked_for(tmp_path: Path) -> None:
    space = built(tmp_path, "{repeat: 5}", texts=("lr=1,2",), repeat=2, max_runs=3).space
    assert [(space[index]["lr"], space.repeat_of(index)) for index in range(len(space))] == [(1, 0), (1, 1), (2, 0)]


def test_the_request_wins_over_the_file_for_what_it_names(tmp_path: Path) -> None:
    sweep = "{grid: {lr: [1, 2], epochs: [3, 4]}}"
    assert rows(tmp_path, sweep, texts=("lr=5,6,7",)) == [(5, 3), (6, 3), (7, 3), (5, 4), (6, 4), (7, 4)]
    assert rows(tmp_path, sweep, texts=("lr=5",)) == [(3,), (4,)]
    assert rows(tmp_path, "{zip: {lr: [1, 2], epochs: [3, 4]}}", texts=("lr=5",)) == [(3,), (4,)]


def test_points_that_become_equal_by_the_request_are_left_out_and_told(tmp_path: Path) -> None:
    one = built(tmp_path, "{list: [{lr: 1, epochs: 1}, {lr: 2, epochs: 1}, {lr: 2, epochs: 2}]}", texts=("lr=5",))
    assert len(one.space) == 2
    assert one.notes[0].endswith("epochs: 1 duplicate point was left out")


def test_the_request_changes_the_random_part_of_the_file(tmp_path: Path) -> None:
    sweep = "{random: {count: 3, seed: 7, parameters: {lr: {uniform: [0, 1]}, epochs: {int: [1, 9]}}}}"
    of_file = rows(tmp_path, sweep)
    assert rows(tmp_path, sweep, random=2) == of_file[:2]
    assert rows(tmp_path, sweep, seed=8) != of_file
    assert rows(tmp_path, sweep, texts=("lr=5",)) == [row[1:] for row in of_file]
    assert len(rows(tmp_path, sweep, texts=("fast=choice(yes,no)",))) == 3


def test_included_points_follow_the_request(tmp_path: Path) -> None:
    sweep = "{grid: {epochs: [1, 2]}, include: [{lr: 9, epochs: 5}]}"
    assert rows(tmp_path, sweep) == [(0.5, 1), (0.5, 2), (9, 5)]
    assert rows(tmp_path, sweep, texts=("lr=3",)) == [(1,), (2,), (5,)]
    one = built(tmp_path, sweep, texts=("lr=3,4",))
    assert len(one.space) == 4
    assert one.notes[0].endswith("1 included point was left out, because the request gives other values")


def test_excluded_points_are_those_of_the_whole_sweep(tmp_path: Path) -> None:
    sweep = "{grid: {epochs: [1, 2]}, exclude: [{lr: 3, epochs: 1}]}"
    assert rows(tmp_path, sweep, texts=("lr=3,4",)) == [(4, 1), (3, 2), (4, 2)]
    assert len(rows(tmp_path, sweep, texts=("lr=3",))) == 1
    assert len(rows(tmp_path, sweep, texts=("lr=5",))) == 2


def test_a_python_caller_gives_values_as_they_are(tmp_path: Path) -> None:
    place = Place("values")
    asked = {"lr": Given([1, 0.5], place), "note": Given("a,b", place), "epochs": Given(range(1, 3), place)}
    space = built(tmp_path, given=asked).space
    assert len(space) == 4
    assert (space[0]["note"], space[0]["lr"], space[3]["epochs"]) == ("a,b", 1.0, 2)
    assert len(built(tmp_path, given=asked, texts=("lr=1",)).space) == 2
    told = refusals(tmp_path, given={"lr": Given([None, "x"], place), "epochs": Given([], place)})
    assert [problem.partition(" (")[0] for problem in told] == [
        "values: parameter lr: a Python NoneType is not a number",
        "values: parameter lr: 'x' is not a number",
        "values: parameter epochs: the list has no values",
    ]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    texts = ("epochs=rnge(1,2)", "optimizer=sgd,adm", "note=range(1,2)", "zz=1", "bad", "lr=1", "lr=[null]", "fast=[]")
    told = refusals(tmp_path, texts=texts, zips=("optimizer,nte",), repeat=0, priority="hihg")
    assert [problem.partition(" (")[0] for problem in told] == [
        "-p 'bad': expected NAME=VALUE",
        "-p lr=[null]: 'lr' is given twice",
        "--zip optimizer,nte: unknown axis 'nte'",
        "-p epochs=rnge(1,2): parameter epochs: unknown form 'rnge'",
        "-p optimizer=sgd,adm: parameter optimizer: 'adm' is not one of the choices",
        "-p note=range(1,2): parameter note: range gives numbers, but this is a string",
        "-p zz=1: unknown parameter 'zz'",
        "-p lr=[null]: parameter lr: the list holds null",
        "-p fast=[]: parameter fast: the list has no values",
        "--repeat: 0 is below the minimum",
        "--priority: 'hihg' is not one of the choices",
    ]
    assert 'write ["range(1,2)"]' in told[5]
    assert "did you mean 'range'?" in told[3]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"texts": ("lr=1,2", "epochs=1,2,3"), "zips": ("lr,epochs",)}, "lr has 2, epochs has 3"),
        ({"texts": ("lr=1,2", "epochs=1,2"), "zips": ("lr,epochs", "lr")}, "'lr' is zipped twice"),
        ({"texts": ("lr=uniform(0,1)", "epochs=1,2"), "zips": ("lr,epochs",), "random": 2}, "cannot be zipped"),
        ({"texts": ("lr=1,2",), "random": 2}, "--random: no parameter has a distribution"),
        ({"seed": 2}, "--seed: no parameter has a distribution"),
        ({"texts": ("lr=uniform(0,11)",), "random": 2}, "11.0 is above the maximum"),
        ({"texts": ("lr=uniform(0)",), "random": 2}, "uniform takes the lowest value and the highest; here are 1"),
        ({"texts": ("epochs=uniform(1,2)",), "random": 2}, "take loguniform, int, choice"),
        ({"texts": ("lr=range()",)}, "range takes start, stop (not included) and step; here are 0"),
        ({"texts": ("lr=linspace(0,x,3)",)}, "'x' is not a number"),
        ({"texts": ("lr=linspace(0,10,1000000)", "epochs=range(1,1000000)")}, "the sweep has 999,999,000,000 runs"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, asked: dict[str, Any], problem: str) -> None:
    told = refusals(tmp_path, **asked)
    assert problem in told[0]


def test_a_parameter_of_a_points_file_is_not_given_as_well(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("lr,epochs\n1,2\n3,4\n")
    assert rows(tmp_path, "{grid: {lr: [7, 8], fast: [no, yes]}}", points=tmp_path / "p.csv") == [
        (1, 2, False),
        (3, 4, False),
        (1, 2, True),
        (3, 4, True),
    ]
    told = refusals(tmp_path, points=tmp_path / "p.csv", texts=("lr=1",))
    assert told == ["p.csv: 'lr' is both in the file and on the command line (keep one of the two)"]


def test_problems_of_file_and_request_come_together(tmp_path: Path) -> None:
    loaded = load(tmp_path, "{grid: {lr: [x]}}")
    with pytest.raises(PipelineFileError) as caught:
        build_space(loaded, SweepRequest(texts=("epochs=y",)))
    assert len(caught.value.problems) == 2


def test_a_huge_sweep_is_built_and_recorded_without_expanding_it(tmp_path: Path) -> None:
    one = built(tmp_path, texts=("lr=linspace(0,10,1000000)", "epochs=range(1,1000000)"), max_runs=10**9)
    assert len(one.space) == 10**9
    assert one.space[10**9 - 1]["epochs"] == 1000
    assert len(json.dumps(one.space.as_json())) < 500


TEXT = "    conf: {type: string}\n"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"a":1,"b":2}', ['{"a":1,"b":2}']),
        ('{"a":1,"b":2},{"a":3}', ['{"a":1,"b":2}', '{"a":3}']),
        ('[{"a":1,"b":[2,3]}, [4,5]]', ['{"a":1,"b":[2,3]}', "[4,5]"]),
        ("[a,b]", ["[a,b]"]),
        ("f(1,2),g(3)", ["f(1,2)", "g(3)"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("it's,fine", ["it's", "fine"]),
        ('{"a":"},{"}', ['{"a":"},{"}']),
        ("{a,b\\,c},d", ["{a,b,c}", "d"]),
        (":),:(", [":)", ":("]),
        ("x,y", ["x", "y"]),
    ],
)
def test_a_comma_inside_brackets_separates_no_values(tmp_path: Path, text: str, wanted: list[str]) -> None:
    space = built(tmp_path, "", TEXT, texts=(f"conf={text}",)).space
    assert [space[index]["conf"] for index in range(len(space))] == wanted


def test_what_is_cut_inside_open_brackets_is_told(tmp_path: Path) -> None:
    (note,) = built(tmp_path, "", TEXT, texts=('conf={"a":1,"b":2',)).notes
    assert "its brackets are not closed, so it was split at every comma" in note


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("[1,2]", 'note=[1,2]: it is a JSON list, so it stands for 2 values; for the literal text write ["[1,2]"]'),
        ('["a"]', r'note=["a"]: it is a JSON list, so it stands for 1 value; for the literal text write ["[\"a\"]"]'),
        ("a,", "note=a,: one of its values is empty, because a comma has nothing before or after it"),
        ("a,,b", "note=a,,b: one of its values is empty, because a comma has nothing before or after it"),
    ],
)
def test_a_text_that_may_have_been_meant_as_it_is_is_noted(tmp_path: Path, text: str, note: str) -> None:
    assert built(tmp_path, texts=(f"note={text}",)).notes == (f"-p {note}",)


@pytest.mark.parametrize(
    "text", ['["a,b"]', '["range(1,2)"]', "[a,b]", '{"a":1,"b":[1,2]}', "a,b", "", "a\\,b", "f(1,2)"]
)
def test_a_text_that_can_be_meant_in_one_way_only_is_not_noted(tmp_path: Path, text: str) -> None:
    assert built(tmp_path, texts=(f"note={text}",)).notes == ()
