"""Parameters that are lists, as argparse's nargs takes them: one value, and one word of the command for each member."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.contract.errors import PipelineFileError, Place, ValuesError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.loading.loader import load_pipeline, read_params_file
from pipeline_queue.model import conditions
from pipeline_queue.model.parameters import (
    MAX_LIST_VALUES,
    BadValueError,
    Given,
    check_bounds,
    from_python,
    read_value,
    resolve_values,
    text_of,
)
from pipeline_queue.model.pipeline import Parameter, ParameterType, Pipeline, Value
from pipeline_queue.planning.planner import check_sizes, plan_step
from tests.unit.sweep_files import refusals, rows

LAYERS = "    layers: {type: list of int, min: 1, default: [64, 32]}\n    lr: {type: float, default: 0.5}\n"
INTS = Parameter(name="x", type="list of int")
RUN = RunId("demo-7k3m9q2x", 0)
RUN_PLACE = Place("Python")


def load(folder: Path, declaration: str, args: str) -> Pipeline:
    path = folder / "demo.yaml"
    path.write_text(
        f"pipeline:\n  parameters:\n    - {declaration}\n  steps:\n    - train: {{run: echo, args: {args}}}\n"
    )
    # As a worker gets it: through the JSON of the sweep.
    return Pipeline.from_json(load_pipeline(path).pipeline.as_json())


def argv(pipeline: Pipeline, **values: Value) -> list[str]:
    point = {one.name: one.default for one in pipeline.parameters} | values
    return list(plan_step(pipeline.steps[0], RUN, point).argv[1:])  # type: ignore[arg-type]


def problems(folder: Path, declaration: str, args: str = "hi") -> list[str]:
    with pytest.raises(PipelineFileError) as caught:
        load(folder, declaration, args)
    return [str(problem).partition("demo.yaml:")[2] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "default"),
    [
        ("list of int, default: [64, 32]", "[64,32]"),
        ("list of ints, default: '[64, 32]'", "[64,32]"),
        ("'list[integer]', default: []", "[]"),
        ("list of float, default: [1e-3, 1, -0.00001]", "[0.001,1.0,-1e-05]"),
        ("list of string, default: [on, 1.10, 'a b', \"\"]", '["on","1.10","a b",""]'),
        ("list of bool, default: [yes, 0]", "[true,false]"),
    ],
)
def test_the_declared_type_reads_every_member(tmp_path: Path, written: str, default: str) -> None:
    assert load(tmp_path, f"{{name: x, type: {written}}}", '"${{ parameters.x }}"').parameters[0].default == default


@pytest.mark.parametrize(
    ("declaration", "place"),
    [
        ("{name: x, type: list}", "3:23: 'list' is not a type (write `list of float`"),
        ("{name: x, type: list of colour}", "3:23: 'list of colour' is not a type (write `list of float`"),
        (
            "{name: x, type: list of int, default: 64}",
            "3:45: default of parameter 'x': '64' is not a list (give a JSON",
        ),
        ("{name: x, type: list of int, default: [64, big]}", "3:45: default of parameter 'x': 'big' is not a whole"),
        ("{name: x, type: list of int, default: [[1]]}", "3:46: a value in default of parameter 'x' must be a single"),
        ("{name: x, type: list of int, default: [1, ]}", ""),
        (
            "{name: x, type: list of int, min: 2, default: [1]}",
            "3:53: default of parameter 'x': 1 is below the minimum",
        ),
        ("{name: x, type: list of string, min: 2}", "3:44: min of parameter 'x' makes no sense for a string"),
        ("{name: x, type: list of string, choices: [a, b], default: [a, c]}", "3:65: default of parameter 'x': 'c' is"),
        ("{name: x, type: int, default: [1]}", "3:37: default of parameter 'x' must be a single value, not a list"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(tmp_path: Path, declaration: str, place: str) -> None:
    if not place:
        load(tmp_path, declaration, '"${{ parameters.x }}"')
        return
    (problem,) = problems(tmp_path, declaration, '"${{ parameters.x }}"')
    assert problem.startswith(place)


def test_alone_in_a_word_it_is_a_word_for_each_member(tmp_path: Path) -> None:
    declaration = "{name: x, type: list of string, default: [a b, '$HOME', '']}"
    expected = ["--x", "a b", "$HOME", "", "-v"]
    assert argv(load(tmp_path, declaration, '"--x ${{ parameters.x }} -v"')) == expected
    assert argv(load(tmp_path, declaration, '[--x, "${{ parameters.x }}", -v]')) == expected


def test_members_reach_the_program_as_single_values_do(tmp_path: Path) -> None:
    declaration = "{name: x, type: list of float, default: [-1e-5, 1e3]}"
    assert argv(load(tmp_path, declaration, '"${{ parameters.x }}"')) == ["-0.00001", "1000.0"]


def test_as_part_of_a_word_it_is_json(tmp_path: Path) -> None:
    assert argv(load(tmp_path, "{name: x, type: list of int, default: [64, 32]}", '"x=${{ parameters.x }}"')) == [
        "x=[64,32]"
    ]


def test_an_empty_list_is_no_word_and_leaves_its_option_out(tmp_path: Path) -> None:
    declaration = "{name: x, type: list of int, default: []}"
    assert argv(load(tmp_path, declaration, '[a, "${{ parameters.x }}", b]')) == ["a", "b"]
    option = load(tmp_path, declaration, '[a, {if: parameters.x, then: "--x ${{ parameters.x }}", else: none}]')
    assert argv(option) == ["a", "none"]
    assert argv(option, x="[1,2]") == ["a", "--x", "1", "2"]
    turned = load(tmp_path, declaration, "[{if: not parameters.x, then: none}]")
    assert argv(turned) == ["none"]
    assert argv(turned, x="[0]") == []


@pytest.mark.parametrize("text", ["", "1,2", "[1", "[1,]", "[null]", "[[1]]", '[{"a":1}]', "[1.5]", "{}", "[NaN]"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        read_value(INTS, text)


def test_a_list_has_a_largest_length() -> None:
    assert read_value(INTS, str([1] * MAX_LIST_VALUES)) == "[" + ",".join("1" * MAX_LIST_VALUES) + "]"
    with pytest.raises(BadValueError, match="1,001 values is too long"):
        read_value(INTS, str([1] * (MAX_LIST_VALUES + 1)))


_MEMBERS: dict[ParameterType, st.SearchStrategy[Value]] = {
    "list of int": st.integers(-(10**30), 10**30),
    "list of float": st.floats(allow_nan=False, allow_infinity=False),
    "list of bool": st.booleans(),
    "list of string": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
}


@given(st.sampled_from(sorted(_MEMBERS)).flatmap(lambda one: st.tuples(st.just(one), st.lists(_MEMBERS[one]))))
def test_text_and_value_turn_into_each_other(written: tuple[ParameterType, list[Value]]) -> None:
    parameter = Parameter(name="x", type=written[0])
    value = from_python(parameter, written[1])
    assert read_value(parameter, text_of(value)) == value
    check_bounds(parameter, value)


def test_conditions_compare_lists_by_their_values() -> None:
    row = {"layers": "[64,32]"}
    assert conditions.parse("layers = '[64, 32.0]'", None).holds(row)
    assert not conditions.parse("layers in ('[32, 64]', other)", None).holds(row)
    assert conditions.parse("layers != '[64]'", None).holds(row)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[64, 32]", []),
        ("[64, 32],[128]", ["[64,32]", "[128]"]),
        ("[[64, 32], [128], []]", ["[64,32]", "[128]", "[]"]),
        ("[], [1]", ["[]", "[1]"]),
    ],
)
def test_a_list_on_the_command_line_is_one_value(tmp_path: Path, text: str, values: list[str]) -> None:
    found = rows(tmp_path, parameters=LAYERS, texts=(f"layers={text}",))
    expected: list[tuple[str, ...]] = [(value,) for value in values]
    assert found == (expected or [()])


def test_a_random_list_is_a_choice_of_lists(tmp_path: Path) -> None:
    found = rows(tmp_path, parameters=LAYERS, texts=("layers=choice([1, 2], [3])",), random=20)
    assert {one[0] for one in found} == {"[1,2]", "[3]"}


@pytest.mark.parametrize(
    "sweep",
    [
        "{grid: {layers: [[64, 32], [128]]}}",
        "{zip: {layers: [[64, 32], '[128]'], lr: [0.5, 0.5]}}",
        "{list: [{layers: [64, 32]}, {layers: [128]}]}",
        "{grid: {layers: [[64, 32], [1], [128]]}, exclude: [{layers: [1]}]}",
        "{grid: {layers: [[64, 32]]}, include: [{layers: [128]}]}",
    ],
)
def test_a_sweep_in_the_file_takes_lists_as_values(tmp_path: Path, sweep: str) -> None:
    assert rows(tmp_path, sweep, LAYERS) == [("[64,32]",), ("[128]",)]


def test_single_values_and_ranges_are_no_lists(tmp_path: Path) -> None:
    assert refusals(tmp_path, "{grid: {layers: [64, 32]}}", LAYERS)[0] == (
        "demo.yaml:6:27: parameter layers: '64' is not a list (give a JSON list such as [64, 32])"
    )
    assert (
        "range gives numbers, but this is a list of int"
        in refusals(tmp_path, "{grid: {layers: {range: [3]}}}", LAYERS)[0]
    )
    assert "'64' is not a list" in refusals(tmp_path, parameters=LAYERS, texts=("layers=64,32",))[0]
    assert "0 is below the minimum" in refusals(tmp_path, parameters=LAYERS, texts=("layers=[64,0]",))[0]


def test_points_in_files_have_lists_in_their_cells(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text('layers,lr\n"[64, 32]",0.5\n[128],0.5\n')
    (tmp_path / "points.jsonl").write_text('{"layers": [64, 32]}\n{"layers": "[128]"}\n')
    for name in ("points.csv", "points.jsonl"):
        assert rows(tmp_path, parameters=LAYERS, points=tmp_path / name) == [("[64,32]",), ("[128]",)]
    (tmp_path / "points.jsonl").write_text('{"layers": [64, null]}\n{"layers": [[1]]}\n{"lr": [1]}\n')
    said = refusals(tmp_path, parameters=LAYERS, points=tmp_path / "points.jsonl")
    assert ["null" in said[0], "the list holds a list" in said[1], "must be a single value" in said[2]] == [True] * 3


def test_a_file_of_values_and_python_give_lists(tmp_path: Path) -> None:
    pipeline = load(tmp_path, "{name: x, type: list of float}", '"${{ parameters.x }}"')
    (tmp_path / "values.yaml").write_text("x: [1e-3, 2]\n")
    assert resolve_values(pipeline, read_params_file(tmp_path / "values.yaml"), {}) == {"x": "[0.001,2.0]"}
    assert from_python(pipeline.parameters[0], (1, 0.5)) == "[1.0,0.5]"
    assert rows(tmp_path, parameters=LAYERS, given={"layers": Given([1, 2], RUN_PLACE)}) == [()]
    assert rows(tmp_path, parameters=LAYERS, given={"layers": Given([[1, 2], (3,)], RUN_PLACE)}) == [
        ("[1,2]",),
        ("[3]",),
    ]


def test_a_list_in_a_file_of_values_is_no_text(tmp_path: Path) -> None:
    for kind in ("string", "float"):
        pipeline = load(tmp_path, f"{{name: x, type: {kind}}}", '"${{ parameters.x }}"')
        (tmp_path / "values.yaml").write_text("x: [1, 2]\n")
        with pytest.raises(Exception, match="a list is not a"):
            resolve_values(pipeline, read_params_file(tmp_path / "values.yaml"), {})


def test_a_list_type_in_brackets_inside_braces_is_told_how_to_be_written(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "{name: x, type: list[int], default: [1]}")
    assert problem.startswith("3:27: invalid YAML") and "(write `list of int`, or put" in problem


def test_lists_cannot_make_a_command_of_more_words_than_the_system_takes(tmp_path: Path) -> None:
    pipeline = load(tmp_path, "{name: x, type: list of string}", f'"{"${{ parameters.x }} " * 30}"')
    check_sizes(pipeline, RUN, {"x": str([""] * 600).replace("'", '"')})
    with pytest.raises(ValuesError, match="the command would have 30,001 words; at most 20,000"):
        check_sizes(pipeline, RUN, {"x": str([""] * 1000).replace("'", '"')})
