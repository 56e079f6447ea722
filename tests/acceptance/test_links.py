"""Data outside the pipeline's folder, to which a link in it leads."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Shell, write_folder

_SCRIPT = """\
import pathlib
text = pathlib.Path("data/train.csv").read_text()
pathlib.Path("seen.txt").write_text(text)
"""
_YAML = "pipeline:\n{links}  steps:\n    - train: {{run: train.py}}\n    - look: {{run: [test, -L, data]}}\n"


def _project(folder: Path, links: str) -> Path:
    data = folder / "far" / "data"
    data.mkdir(parents=True)
    (data / "train.csv").write_text("a,b")
    project = write_folder(folder / "project", pipeline_yaml=_YAML.format(links=links), train_py=_SCRIPT)
    (project / "data").symlink_to("../far/data")
    return project


def test_a_linked_data_folder_is_found_by_every_step_and_never_copied(tmp_path: Path) -> None:
    project = _project(tmp_path, "  links: [data]\n")
    report = Shell(project).json("run", "pipeline.yaml", "--json")
    assert report["state"] == "succeeded"
    outputs = Path(report["steps"][0]["outputs"])
    assert [path.name for path in outputs.iterdir()] == ["seen.txt"]
    assert (tmp_path / "far" / "data" / "train.csv").read_text() == "a,b"


def test_a_linked_data_folder_is_refused_with_both_remedies(tmp_path: Path) -> None:
    done = Shell(_project(tmp_path, ""))("run", "pipeline.yaml", exit_code=2)
    assert ".pipelineignore" in done.stderr and "links: [data]" in done.stderr


def test_data_that_a_worker_does_not_have_ends_the_run_with_its_path(tmp_path: Path) -> None:
    project = _project(tmp_path, "  links: {data: /absent/imagenet}\n")
    done = Shell(project)("run", "pipeline.yaml", exit_code=1)
    assert "/absent/imagenet" in done.stdout + done.stderr


def test_a_large_folder_is_noted_when_it_is_submitted(tmp_path: Path) -> None:
    project = write_folder(tmp_path, pipeline_yaml="pipeline:\n  steps:\n    - train: {run: ['true']}\n")
    for number in range(1_001):
        (project / f"{number}.txt").touch()
    done = Shell(project)("run", "pipeline.yaml")
    assert "note: every step gets a copy of 1,002 files" in done.stderr and ".pipelineignore" in done.stderr
