"""Paths that lead out of a step's copy of the folder are said: to the live project, or beside the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.loading.loader import load_pipeline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "top" / "project"
    for name in ("data", "out", "big", ".venv/bin"):
        (folder / name).mkdir(parents=True)
    for name in ("train.py", "ignored.py", "data/x.csv", "../x.csv", ".venv/bin/tool"):
        (folder / name).touch(mode=0o755)
    (folder / ".pipelineignore").write_text("big/\nignored.py\n")
    (folder / ".venv/pyvenv.cfg").touch()
    return folder


def warned(folder: Path, step: str, default: str = "a") -> list[str]:
    path = folder / "demo.yaml"
    parameter = json.dumps({"name": "data", "type": "string", "default": default})
    uses = "    - use: {run: [echo, '${{ parameters.data }}']}\n"
    lines = "".join(f"        {line}\n" for line in step.replace("FOLDER", str(folder)).splitlines())
    path.write_text(f"pipeline:\n  parameters:\n    - {parameter}\n  steps:\n{uses}    - train:\n{lines}")
    return [str(one).replace(str(folder), "FOLDER") for one in load_pipeline(path).warnings]


@pytest.mark.parametrize(
    ("step", "inside"),
    [
        ("run: train.py\nargs: --data FOLDER/data/x.csv", "data/x.csv"),
        ("run: train.py\nargs: [--data=FOLDER/data]", "data"),
        ("run: train.py\nargs: --out FOLDER/new/${{ parameters.data }}", "new"),
        ("run: python FOLDER/train.py", "train.py"),
        ("run: train.py\nenv: {PYTHONPATH: 'FOLDER/data:/opt/x'}", "data"),
        ("shell: |\n  ls\n  cd FOLDER/data && ls", "data"),
        ("shell: cd FOLDER", "."),
    ],
)
def test_an_absolute_path_into_the_project_is_said(folder: Path, step: str, inside: str) -> None:
    (warning,) = warned(folder, step)
    assert "leads into the live project" in warning
    assert f"(write {inside}, relative to the pipeline's folder" in warning
    assert warning.startswith("FOLDER/demo.yaml:")


@pytest.mark.parametrize("path", ["../x.csv", "./../x.csv", "--data=../x.csv"])
def test_a_path_beside_the_folder_is_said(folder: Path, path: str) -> None:
    (warning,) = warned(folder, f"run: train.py\nargs: [{path}]")
    assert "is outside the pipeline's folder" in warning and "links:" in warning


def test_a_default_is_looked_at_too(folder: Path) -> None:
    (warning,) = warned(folder, "run: train.py", default=f"{folder}/data")
    assert warning.startswith("FOLDER/demo.yaml:3:") and "parameter data: " in warning
    assert "leads into the live project" in warning
    assert len(warned(folder, "run: train.py", default="../x.csv")) == 1


@pytest.mark.parametrize(
    "args", ["FOLDER/big/x.csv", "FOLDER/.venv/bin/python", "FOLDER2/x", "/data", "../results", "data/x.csv", "a/../x", "FOLDER.csv", "../project/train.py"]
)  # fmt: skip
def test_other_paths_are_left_alone(folder: Path, args: str) -> None:
    assert warned(folder, f"run: train.py\nargs: [{args}]") == []


@pytest.mark.parametrize("run", ["ignored.py", ".venv/bin/tool", "./.venv/bin/tool"])
def test_a_program_that_no_step_gets_is_refused(folder: Path, run: str) -> None:
    path = folder / "demo.yaml"
    path.write_text(f"pipeline:\n  steps:\n    - train: {{run: {run}}}\n")
    with pytest.raises(PipelineFileError, match="is not copied for steps"):
        load_pipeline(path)
