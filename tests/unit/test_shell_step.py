"""`shell:` is a script that stands in the file; values come as environment variables and never into its text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.model.pipeline import Reference, Step


def load(folder: Path, step: str, names: str = "lr batch-size") -> Step:
    parameters = "".join(f"    - {{name: {name}, type: float, default: 0.5}}\n" for name in names.split())
    path = folder / "demo.yaml"
    lines = "".join(f"        {line}\n" for line in step.splitlines())
    path.write_text(f"pipeline:\n  parameters:\n{parameters}  steps:\n    - train:\n{lines}")
    return load_pipeline(path).pipeline.steps[0]


def refused(folder: Path, step: str, names: str = "lr batch-size") -> str:
    with pytest.raises(PipelineFileError) as caught:
        load(folder, step, names)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_script_is_one_word_and_its_values_are_variables(tmp_path: Path) -> None:
    step = load(tmp_path, 'shell: |\n  echo "$PARAM_LR" && echo ${PARAM_BATCH_SIZE} > out')
    script = 'echo "$PARAM_LR" && echo ${PARAM_BATCH_SIZE} > out\n'
    assert step.argv == (("bash",), ("-euo",), ("pipefail",), ("-c",), (script,), ("train",))
    assert step.env == {
        "PARAM_LR": (Reference(scope="parameters", name="lr"),),
        "PARAM_BATCH_SIZE": (Reference(scope="parameters", name="batch-size"),),
    }


def test_only_what_the_script_names_is_set(tmp_path: Path) -> None:
    assert set(load(tmp_path, "shell: echo $PARAM_LR").env) == {"PARAM_LR"}
    assert load(tmp_path, "shell: echo MY_PARAM_LR").env == {}


def test_an_expression_in_a_script_is_refused_with_the_variable(tmp_path: Path) -> None:
    said = refused(tmp_path, "shell: |\n  echo 1\n  echo ${{ parameters.lr }}")
    assert said.startswith("demo.yaml:9:16: shell of step 'train' cannot hold an expression") and "$PARAM_X" in said


@pytest.mark.parametrize("other", ["run: train.py", "args: --x 1"])
def test_a_script_stands_alone(tmp_path: Path, other: str) -> None:
    assert "has both shell and" in refused(tmp_path, f"shell: echo 1\n{other}")


def test_a_variable_of_no_parameter_is_refused_with_the_nearest(tmp_path: Path) -> None:
    said = refused(tmp_path, "shell: echo $PARAM_LRR")
    assert "'PARAM_LRR' belongs to no parameter" in said and "did you mean 'PARAM_LR'?" in said
    assert load(tmp_path, "env: {PARAM_LRR: 1}\nshell: echo $PARAM_LRR").env == {"PARAM_LRR": ("1",)}


def test_parameters_of_one_variable_are_refused_where_it_is_used(tmp_path: Path) -> None:
    assert "could be the parameter 'a-b' or 'a_b'" in refused(tmp_path, "shell: echo $PARAM_A_B", "a-b a_b")


@pytest.mark.parametrize("script", ["''", "' '"])
def test_an_empty_script_is_refused(tmp_path: Path, script: str) -> None:
    assert "shell of step 'train' is empty" in refused(tmp_path, f"shell: {script}")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_script_that_bash_cannot_read_is_refused_at_its_line(tmp_path: Path) -> None:
    said = refused(tmp_path, "shell: |\n  echo 1\n  if true; then\n  echo )\n")
    assert said.startswith("demo.yaml:10:") and "bash cannot read line 3" in said


def test_a_variable_that_only_a_comment_names_is_not_used(tmp_path: Path) -> None:
    assert load(tmp_path, "shell: |\n  # --lr $PARAM_LR, $PARAM_NOBODY\n  echo hi").env == {}
    assert set(load(tmp_path, "shell: |\n  cat <<EOF\n  # $PARAM_LR\n  EOF").env) == {"PARAM_LR"}
