"""Copying a folder out of the storage: however deep, with what it holds as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline_queue.storage.sparse_files import copy_tree

DEPTH = 1200


def test_a_folder_deeper_than_python_recurses_is_copied(tmp_path: Path) -> None:
    source, copy = tmp_path / "s", tmp_path / "c"
    chain = [f"{source}{'/d' * depth}" for depth in range(DEPTH)]
    for folder in chain:
        os.mkdir(folder)  # noqa: PTH102
    Path(chain[-1], "leaf").write_text("x")
    copy_tree(source, copy)
    copied = [folder.replace(str(source), str(copy), 1) for folder in chain]
    assert Path(copied[-1], "leaf").read_text() == "x"
    for folders in (chain, copied):  # pytest's own removal recurses
        Path(folders[-1], "leaf").unlink()
        for folder in reversed(folders):
            os.rmdir(folder)  # noqa: PTH106


def test_modes_times_and_links_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "run.sh").write_text("true")
    (source / "inner" / "run.sh").chmod(0o750)
    (source / "link").symlink_to("inner/run.sh")
    (source / "gone").symlink_to("nowhere")
    (source / "folder").symlink_to("inner")
    os.utime(source / "inner", (1000, 2000))
    (source / "inner").chmod(0o500)
    copy = tmp_path / "copy"
    copy_tree(source, copy)
    assert (copy / "inner" / "run.sh").stat().st_mode & 0o7777 == 0o750
    assert (copy / "inner").stat().st_mode & 0o7777 == 0o500 and (copy / "inner").stat().st_mtime == 2000
    assert [str((copy / name).readlink()) for name in ("link", "gone", "folder")] == [
        "inner/run.sh",
        "nowhere",
        "inner",
    ]
    with pytest.raises(FileExistsError):
        copy_tree(source, copy)
