"""Outputs that no file can match are refused before a step works for them in vain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline

HEAD = """pipeline:
  parameters:
    - {name: lr, type: float, default: 0.1}
  steps:
    - train:
        run: [ls, '${{ parameters.lr }}']
        outputs: """


def load(folder: Path, outputs: str) -> LoadedPipeline:
    path = folder / "demo.yaml"
    path.write_text(HEAD + outputs + "\n")
    return load_pipeline(path)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("model-{lr}.pkl", "'{lr}' in 'model-{lr}.pkl' is not replaced"),
        ("model-$lr.pkl", "is not replaced"),
        ("{{ lr }}/model.pkl", "is not replaced"),
        ("model.{pkl,json}", "is not a supported pattern"),
        ("$HOME/model.pkl", "nothing expands it"),
        ("${OUT}/model.pkl", "nothing expands it"),
        ("~/model.pkl", "cannot be an output"),
        ("s3://bucket/model.pkl", "cannot be an output"),
        ("!model.pkl", "cannot be an output"),
        ("out\\model.pkl", "use / between folders"),
    ],
)
def test_an_output_that_nothing_can_match_is_refused_at_its_place(tmp_path: Path, output: str, said: str) -> None:
    for written in (json.dumps(output), f"[{json.dumps(output)}]"):
        with pytest.raises(PipelineFileError) as caught:
            load(tmp_path, written)
        (problem,) = map(str, caught.value.problems)
        assert problem.startswith(f"{tmp_path}/demo.yaml:7:1") and said in problem


@pytest.mark.parametrize("output", ["model.pkl b.pkl", "model.pkl, metrics.json", "a.csv,b.csv"])
def test_several_names_in_one_text_are_said(tmp_path: Path, output: str) -> None:
    (warning,) = load(tmp_path, json.dumps(output)).warnings
    assert "is taken as one name (write several as a list" in str(warning)


@pytest.mark.parametrize(
    "output", ["*.pkl", "**/*.csv", "out/", "we ird.txt", "part-[0-9].csv", "a\\[1\\].txt", ".hidden", "cost$", "a=b,c"]
)
def test_names_and_patterns_that_may_be_there_are_taken(tmp_path: Path, output: str) -> None:
    assert load(tmp_path, f"[{json.dumps(output)}]").warnings == ()
