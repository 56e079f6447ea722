"""A manifest or an output that was altered on the storage leads nowhere else, and is noticed where it is staged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.records import OutputFile, StepRecord
from pipeline_queue.storage.step_folder import StepFolder
from workers.workspace import DamagedError, _apply

RECORD = StepRecord(run="a-7k3m9q2x.0", step="one", attempt=1, uid="0", state="succeeded")


def published(folder: Path, **changed: object) -> Path:
    step = folder / "one"
    (step / "outputs").mkdir(parents=True)
    (step / "outputs" / "a.txt").write_text("a")
    (step / "step.json").write_text(RECORD.model_copy(update=changed).model_dump_json())
    return step


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "", "a//b", "./a", "a\0b"])
@pytest.mark.parametrize("field", ["deleted", "outputs"])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str, field: str) -> None:
    (tmp_path / "x").write_text("stays")
    names = (name,) if field == "deleted" else (OutputFile(path=name, size=1),)
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(StorageError, match="leads outside"):
        _apply(StepFolder(published(tmp_path, **{field: names})), work, {})
    assert (tmp_path / "x").read_text() == "stays"


def test_a_name_behind_a_link_is_refused(tmp_path: Path) -> None:
    outside, work = tmp_path / "outside", tmp_path / "work"
    outside.mkdir()
    work.mkdir()
    (outside / "a.txt").write_text("stays")
    (work / "link").symlink_to(outside)
    with pytest.raises(StorageError, match="leads outside"):
        _apply(StepFolder(published(tmp_path, deleted=("link/a.txt",))), work, {})
    assert (outside / "a.txt").read_text() == "stays"


def test_an_output_that_is_not_what_was_published_is_refused(tmp_path: Path) -> None:
    step = published(tmp_path, outputs=(OutputFile(path="a.txt", size=1, sha256="0" * 64),))
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(StorageError, match=r"a\.txt is damaged: it is not what its step published"):
        _apply(StepFolder(step), work, {})


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda file: file.write_text("longer"), "6 bytes instead of 1"),
        (lambda file: (file.unlink(), file.symlink_to("/etc/hostname")), "no file any more"),
        (lambda file: (file.unlink(), file.mkdir()), "no file any more"),
    ],
    ids=["size", "link", "folder"],
)
def test_a_large_output_without_a_checksum_is_compared_by_kind_and_size(
    tmp_path: Path, alter: Callable[[Path], object], message: str
) -> None:
    step = published(tmp_path, outputs=(OutputFile(path="a.txt", size=1),))
    alter(step / "outputs" / "a.txt")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(DamagedError, match=message):
        _apply(StepFolder(step), work, {})


def test_a_pipe_in_the_place_of_an_output_ends_no_worker(tmp_path: Path) -> None:
    step = published(tmp_path, outputs=(OutputFile(path="a.txt", size=1),))
    (step / "outputs" / "a.txt").unlink()
    os.mkfifo(step / "outputs" / "a.txt")
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(OSError, match="neither a file, a folder nor a link"):
        _apply(StepFolder(step), work, {})


def test_a_manifest_that_is_no_record_is_damage(tmp_path: Path) -> None:
    step = published(tmp_path)
    (step / "step.json").write_text("{")
    with pytest.raises(DamagedError, match="is damaged"):
        _apply(StepFolder(step), tmp_path, {})
