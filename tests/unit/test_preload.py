"""`preload:` in the pipeline file, and what of a step's environment tells warm processes apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.model.pipeline import Pipeline, Reference, Step
from workers.preload import READ_AT_IMPORT, late_variables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train.py", "src/other.py", "src/helper.py", "package/__init__.py", "namespace/inner.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def _load(folder: Path, text: str) -> Pipeline:
    (folder / "p.yaml").write_text(text)
    return load_pipeline(folder / "p.yaml").pipeline


def _problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(PipelineFileError) as caught:
        _load(folder, text)
    return [f"{problem.place.line}:{problem.place.column} {problem.message}" for problem in caught.value.problems]


def test_a_step_takes_its_own_list_or_else_the_pipelines(folder: Path) -> None:
    steps = """\
pipeline:
  preload: [numpy, sklearn.linear_model]
  steps:
    - of_pipeline: {run: train.py}
    - own: {run: src/other.py, preload: [json]}
    - single: {run: train.py, preload: numpy.random}
    - none: {run: train.py, preload: []}
    - nothing: {run: train.py, preload: ~}
    - program: {run: "true"}
"""
    pipeline = _load(folder, steps)
    assert {step.name: step.preload for step in pipeline.steps} == {
        "of_pipeline": ("numpy", "sklearn.linear_model"),
        "own": ("json",),
        "single": ("numpy.random",),
        "none": (),
        "nothing": (),
        "program": (),
    }
    assert Pipeline.from_json(pipeline.as_json()) == pipeline
    assert "preload" not in pipeline.as_json()["steps"][3]


@pytest.mark.parametrize(
    "name",
    ["a b", "a..b", ".a", "a.", "import", "a.class", "a-b", "1a", "numpy;x", "a/b", "é", "__main__", "a" * 201, "''"],
)
def test_only_names_of_modules_can_be_preloaded(folder: Path, name: str) -> None:
    text = f"pipeline:\n  steps:\n    - a:\n        run: train.py\n        preload: [json, {name}]\n"
    (problem,) = _problems(folder, text)
    assert problem.startswith("5:25 ")
    assert "cannot be the name of a module" in problem


def test_every_mistake_is_told_at_its_place(folder: Path) -> None:
    text = """\
pipeline:
  preload: {numpy: 1}
  steps:
    - a: {run: train.py, preload: [numpy, numpy, "${{ parameters.x }}"]}
    - b: {run: [python, train.py], preload: [numpy]}
    - c: {run: "true", preload: numpy}
"""
    assert _problems(folder, text) == [
        "2:12 preload of the pipeline must be a list, not a mapping",
        "4:43 'numpy' is listed twice in preload of step 'a'",
        "4:51 an expression is not allowed in a module in preload of step 'a'",
        "5:46 preload of step 'b' has no effect: its run is not a Python script of the folder",
        "6:33 preload of step 'c' has no effect: its run is not a Python script of the folder",
    ]


def test_what_lies_beside_the_script_cannot_be_preloaded(folder: Path) -> None:
    text = """\
pipeline:
  preload: [json, package.inner, helper, namespace]
  steps:
    - a: {run: train.py}
    - b: {run: src/other.py}
    - c: {run: src/other.py, preload: helper.x}
"""
    assert _problems(folder, text) == [
        "2:19 'package.inner' is in the pipeline's folder (package/__init__.py)",
        "2:34 'helper' is in the pipeline's folder (src/helper.py)",
        "6:39 'helper.x' is in the pipeline's folder (src/helper.py)",
    ]


def test_too_many_modules_are_refused(folder: Path) -> None:
    names = ", ".join(f"m{number}" for number in range(51))
    text = f"pipeline:\n  steps:\n    - a: {{run: train.py, preload: [{names}]}}\n"
    assert _problems(folder, text) == ["3:35 preload of step 'a' has more than 50 modules"]


def test_variables_with_an_expression_are_set_after_the_fork_unless_imports_read_them() -> None:
    seed = (Reference(scope="parameters", name="seed"),)
    env: dict[str, tuple[str | Reference, ...]] = {
        "SEED": seed,
        "OMP_NUM_THREADS": seed,
        "FIXED": ("1",),
        "PARTLY": ("a", *seed),
    }
    step = Step(name="s", argv=(("s.py",),), python=True, env=env)
    names = [*env, "PATH", "PIPELINE_QUEUE_RUN_ID"]
    assert late_variables(step, names) == {"SEED", "PARTLY", "PIPELINE_QUEUE_RUN_ID"}
    assert all(prefix == prefix.upper() for prefix in READ_AT_IMPORT)
