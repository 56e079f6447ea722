"""Rights below a folder: what a group's folder gives to what is made in it, and where nothing is widened."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pipeline_queue.storage.access import describe_denied, inherit_access_below, is_denied, make_folder, mode_below
from pipeline_queue.storage.atomic import create_exclusive, replace_file

_FILE, _FOLDER = stat.S_IFREG, stat.S_IFDIR


@pytest.mark.parametrize(
    ("made", "above", "mode"),
    [
        (_FOLDER | 0o755, 0o2775, 0o2775),
        (_FOLDER | 0o700, 0o2775, 0o2775),
        (_FOLDER | 0o755, 0o2770, 0o2775),  # what a folder that others may not enter gives them is nothing more
        (_FOLDER | 0o700, 0o2770, 0o2770),
        (_FILE | 0o644, 0o2775, 0o664),
        (_FILE | 0o600, 0o2770, 0o660),
        (_FILE | 0o700, 0o2775, 0o775),
        (_FILE | 0o400, 0o2775, 0o444),
        (_FOLDER | 0o755, 0o1777, 0o2775),  # sticky: others may not write
        (_FOLDER | 0o755, 0o777, 0o2777),
        (_FILE | 0o644, 0o777, 0o666),
    ],
)
def test_group_and_others_get_of_the_owners_rights_what_the_folder_gives_them(made: int, above: int, mode: int) -> None:
    assert oct(mode_below(made, above)) == oct(mode)


@pytest.fixture(params=[0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield
    os.umask(before)


def _mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.usefixtures("_umask")
def test_what_is_made_in_a_groups_folder_is_the_groups_whatever_the_umask(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    make_folder(shared / "a" / "b")
    create_exclusive(shared / "a" / "file", b"")
    replace_file(shared / "a" / "other", b"")
    for folder in (shared / "a", shared / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o2770 == 0o2770
    assert stat.S_IMODE((shared / "a" / "file").stat().st_mode) & 0o660 == 0o660
    assert stat.S_IMODE((shared / "a" / "other").stat().st_mode) & 0o660 == 0o660
    left = shared / "a" / "left"
    (left / "sub").mkdir(parents=True)
    (left / "sub" / "model").write_text("x")
    (left / "sub" / "out").symlink_to(tmp_path)
    left.chmod(0o2770)
    outside = _mode(tmp_path)
    inherit_access_below(left)
    assert stat.S_IMODE((left / "sub").stat().st_mode) & 0o2770 == 0o2770
    assert stat.S_IMODE((left / "sub" / "model").stat().st_mode) & 0o660 == 0o660
    assert _mode(tmp_path) == outside


@pytest.mark.usefixtures("_umask")
def test_nothing_is_widened_where_only_the_owner_may_write(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o755)
    plain = tmp_path / "plain"
    plain.mkdir()
    make_folder(private / "a")
    create_exclusive(private / "file", b"")
    assert _mode(private / "a") == _mode(plain)
    assert not (private / "file").stat().st_mode & 0o022


def test_a_folder_that_is_there_is_an_error_unless_it_may_be(tmp_path: Path) -> None:
    make_folder(tmp_path / "a", exist_ok=True)
    make_folder(tmp_path / "a", exist_ok=True)
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "a")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file", exist_ok=True)


def test_a_denial_names_folder_owner_mode_and_remedy(tmp_path: Path) -> None:
    text = describe_denied(tmp_path / "absent" / "deeper", tmp_path)
    assert text.startswith(f"{tmp_path} (owner ")
    assert "mode 07" in text and "Permission denied" in text and "chmod -R g+rwX" in text
    assert is_denied(PermissionError(errno.EACCES, "x")) and not is_denied(OSError(errno.EIO, "x"))
