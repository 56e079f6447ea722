"""The `links:` of a pipeline file: which are right, where they lead, and what they mean for a step's identity."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.step_key import step_keys
from pipeline_queue.space import Points
from workers.outcome import missing_link

_STEPS = "  steps:\n    - train: {run: [ls, data]}\n"


def _load(folder: Path, links: str) -> Pipeline:
    (folder / "pipeline.yaml").write_text(f"pipeline:\n  links: {links}\n{_STEPS}")
    return load_pipeline(folder / "pipeline.yaml").pipeline


def test_a_named_link_of_the_folder_is_made_absolute(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    folder = tmp_path / "real" / "project"
    folder.mkdir()
    (folder / "data").symlink_to("../data")
    (folder / "far").symlink_to("/data/imagenet")
    through_a_link = tmp_path / "way" / "project"
    found = _load(through_a_link, "[data, ./far]").links
    assert found == {"data": os.path.realpath(tmp_path / "real" / "data"), "far": "/data/imagenet"}
    assert _load(folder, "data").links == {"data": os.path.realpath(tmp_path / "real" / "data")}


def test_a_target_may_be_given_and_needs_no_link_in_the_folder(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "{data: /data/imagenet, sub/more: /data/more}")
    assert loaded.links == {"data": "/data/imagenet", "sub/more": "/data/more"}
    assert Pipeline.from_json(loaded.as_json()) == loaded
    assert "links" not in _load(tmp_path, "[]").as_json()


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ("[absent]", "there is no link 'absent' in the pipeline's folder"),
        ("[pipeline.yaml]", "'pipeline.yaml' is not a link"),
        ("[/data]", "'/data' cannot be a link"),
        ("[../data]", "cannot be a link"),
        ("{a/../../b: /x}", "cannot be a link"),
        ("{'': /x}", "cannot be a link"),
        ("{.: /x}", "cannot be a link"),
        ("{data: data}", "is not an absolute path"),
        ("{data: [x]}", "must be a single value"),
        ("{data: }", "has no value"),
        ("{data: /x, data/train: /y}", "exclude each other"),
        ("{data/train: /x, data: /y}", "exclude each other"),
        ("{data: /x, ./data: /y}", "exclude each other"),
        ("{data: '${{ parameters.x }}'}", "an expression is not allowed"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(tmp_path: Path, links: str, message: str) -> None:
    with pytest.raises(PipelineFileError, match=message) as caught:
        _load(tmp_path, links)
    assert "pipeline.yaml:2" in str(caught.value)


def test_a_step_that_finds_other_data_is_another_step(tmp_path: Path) -> None:
    digests = set()
    for links in ("{data: /one}", "{data: /two}", "[]"):
        pipeline = _load(tmp_path, links)
        ((_, identity),) = step_keys(pipeline, RunId("train-7k3m9q2x", 0), Points(({},)), "snapshot", {})
        digests.add(identity.digest)
    assert len(digests) == 3


def test_data_that_is_not_there_is_the_machines_fault_and_named(tmp_path: Path) -> None:
    assert missing_link("train", {"data": str(tmp_path)}) is None
    failure = missing_link("train", {"data": str(tmp_path / "absent")})
    assert failure is not None and failure.infrastructure
    assert str(tmp_path / "absent") in failure.message and "data" in failure.message


def test_what_a_link_hides_and_a_target_that_is_not_here_are_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "far").symlink_to("nowhere")
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"pipeline:\n  links: {{data: {tmp_path}, far: /absent, near: {tmp_path}}}\n{_STEPS}")
    hidden, absent = (str(one) for one in load_pipeline(path).warnings)
    assert "the link hides 'data' of the pipeline's folder from every step" in hidden
    assert "the target '/absent' of link 'far' does not exist on this machine (it must exist on the workers)" in absent
