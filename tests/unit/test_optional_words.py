"""Words of `args` that are there under a condition: switches and optional arguments, without a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline
from pipeline_queue.model.pipeline import Pipeline, Value
from pipeline_queue.planning.planner import plan_step

PARAMETERS = """\
pipeline:
  parameters:
    - {name: augment, type: bool, default: false}
    - {name: note, type: string, default: ''}
    - {name: epochs, type: int, default: 3}
  steps:
    - train:
        run: echo
        args: [--lr, 0.1, %s]
"""
RUN = RunId("demo-7k3m9q2x", 0)


def load(folder: Path, item: str) -> LoadedPipeline:
    path = folder / "demo.yaml"
    path.write_text(PARAMETERS % item)
    return load_pipeline(path)


def argv(folder: Path, item: str, **values: bool | int | str) -> list[str]:
    # As a worker gets it: through the JSON of the sweep.
    pipeline = Pipeline.from_json(load(folder, item).pipeline.as_json())
    point: dict[str, Value] = {"augment": False, "note": "", "epochs": 3, **values}
    return list(plan_step(pipeline.steps[0], RUN, point).argv[3:])


@pytest.mark.parametrize("condition", ["parameters.augment", "${{ parameters.augment }}", "parameters.augment = true"])
def test_a_switch_is_there_when_it_is_true(tmp_path: Path, condition: str) -> None:
    item = f"{{if: '{condition}', then: --augment}}"
    assert argv(tmp_path, item, augment=True) == ["--augment"]
    assert argv(tmp_path, item, augment=False) == []


def test_otherwise_other_words_may_be_there(tmp_path: Path) -> None:
    item = "{if: not parameters.augment, then: --no-augment -v, else: [--augment, 'a b']}"
    assert argv(tmp_path, item) == ["--no-augment", "-v"]
    assert argv(tmp_path, item, augment=True) == ["--augment", "a b"]


def test_an_empty_text_leaves_its_option_out(tmp_path: Path) -> None:
    item = "{if: parameters.note, then: '--note ${{ parameters.note }}'}, last"
    assert argv(tmp_path, item) == ["last"]
    assert argv(tmp_path, item, note="a b; $x") == ["--note", "a b; $x", "last"]


def test_conditions_compare(tmp_path: Path) -> None:
    item = "{if: 'parameters.epochs > 10 and parameters.note in (a, b)', then: --long}"
    assert argv(tmp_path, item, epochs=11, note="b") == ["--long"]
    assert argv(tmp_path, item, epochs=10, note="b") == []
    assert argv(tmp_path, item, epochs=11, note="c") == []


def test_the_parameters_of_a_condition_count_as_used(tmp_path: Path) -> None:
    loaded = load(tmp_path, "{if: parameters.augment, then: '--note=${{ parameters.note }}'}")
    assert loaded.pipeline.steps[0].parameters() == ("note", "augment")
    assert list(loaded.unused) == ["epochs"]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{if: parameters.augmnt, then: -x}", "did you mean 'parameters.augment'"),
        ("{if: parameters.epochs >, then: -x}", "expected a value"),
        ("{if: augment, then: -x}", "unknown parameter or metric 'augment'"),
        ("{if: parameters.augment}", "needs `if` and `then`"),
        ("{then: -x}", "needs `if` and `then`"),
        ("{if: parameters.augment, than: -x}", "unknown key 'than'"),
        ("{if: parameters.augment, then: '-x ${{ parameters.nope }}'}", "unknown parameter 'nope'"),
        ("{if: parameters.augment, then: a && b}", "means something only to a shell"),
        ("{if: [parameters.augment], then: -x}", "must be a single value"),
    ],
)
def test_a_wrong_condition_is_refused_at_its_place(tmp_path: Path, item: str, said: str) -> None:
    with pytest.raises(PipelineFileError) as caught:
        load(tmp_path, item)
    assert said in str(caught.value) and "demo.yaml:9:" in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "values", "holds"),
    [
        ("parameters.augment and parameters.epochs > 2", {"augment": True}, True),
        ("parameters.augment and parameters.epochs > 3", {"augment": True}, False),
        ("not parameters.augment and not parameters.note", {}, True),
        ("not (parameters.augment or parameters.note)", {"note": "x"}, False),
        ("(parameters.note)", {"note": "[]"}, True),
        ("parameters.epochs > 2.5", {}, True),
        ("parameters.epochs", {"epochs": 0}, False),
    ],
)
def test_a_parameter_may_stand_alone_among_comparisons(
    tmp_path: Path, condition: str, values: dict[str, bool | int | str], holds: bool
) -> None:
    assert argv(tmp_path, f"{{if: '{condition}', then: x}}", **values) == (["x"] if holds else [])


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            "parameters.epochs > many",
            "if in args of step 'train': parameters.epochs is never 'many': 'many' is not a number",
        ),
        ("parameters.augment = maybe", "parameters.augment is never 'maybe'"),
        ("augment", "(write parameters.augment)"),
        ("parameters.note = a and augment", "(write parameters.augment)"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(tmp_path: Path, condition: str, said: str) -> None:
    with pytest.raises(PipelineFileError) as caught:
        load(tmp_path, f"{{if: '{condition}', then: x}}")
    assert said in str(caught.value)


def test_a_condition_on_what_is_no_choice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text(
        "pipeline:\n  parameters:\n    - {name: optimizer, type: string, choices: [sgd, adam], default: sgd}\n"
        "  steps:\n    - train: {run: echo, args: [{if: 'parameters.optimizer in (sgd, adma)', then: x}]}\n"
    )
    with pytest.raises(PipelineFileError, match=r":5:38: .* is never 'adma': .* \(did you mean 'adam'\?"):
        load_pipeline(path)
