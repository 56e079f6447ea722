"""Snapshots of odd folders: the same content has the same digest, and nothing from outside gets in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract.errors import SnapshotError
from pipeline_queue.storage import snapshot as snapshot_module
from pipeline_queue.storage.snapshot import take_snapshot
from pipeline_queue.storage.storage import Storage
from tests.integration.attempt_site import names_in


def _names(folder: Path, storage_root: Path | None = None) -> list[str]:
    with take_snapshot(folder, storage_root) as snapshot:
        snapshot.tar.seek(0)
        with tarfile.open(fileobj=snapshot.tar) as tar:
            return tar.getnames()


def _digest(folder: Path) -> str:
    with take_snapshot(folder) as snapshot:
        return snapshot.digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def test_equal_folders_have_equal_digests_and_any_change_shows(tmp_path: Path) -> None:
    digests = []
    for place in ("one", "another place"):
        folder = tmp_path / place
        (folder / "sub").mkdir(parents=True)
        names = ["a", "sub/b", "sub-x"]
        for name in names if place == "one" else reversed(names):
            (folder / name).write_text(name)
        digests.append(_digest(folder))
    assert digests[0] == digests[1]
    os.utime(folder / "a", (1, 1))
    assert _digest(folder) == digests[0]
    (folder / "a").chmod(0o755)
    assert _digest(folder) != digests[0]
    (folder / "a").chmod(0o644)
    (folder / "empty").mkdir()
    assert _digest(folder) != digests[0]


@pytest.mark.parametrize(
    "name", ["a b", "line\nline", "-rf", "x" * 255, "päß🦊", "back\\slash", "*", " ", "...", "'", "$HOME"]
)
def test_odd_names_are_packed_as_they_are(folder: Path, name: str) -> None:
    (folder / name).write_text("content")
    assert _names(folder) == [name]


def test_a_name_that_is_not_utf_8_is_refused_with_its_folder(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"))).write_text("x")
    with pytest.raises(SnapshotError, match="UTF-8") as caught:
        _names(folder)
    str(caught.value).encode()


def _outside_link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def _link_up(folder: Path) -> None:
    (folder / "link").symlink_to("..")


def _link_through_a_link(folder: Path) -> None:
    (folder.parent / "hop").symlink_to("/etc")
    (folder / "sub").mkdir()
    (folder / "sub" / "link").symlink_to("../../hop/passwd")


def _link_to_a_sibling_of_like_name(folder: Path) -> None:
    (folder.parent / "project2").mkdir()
    (folder / "link").symlink_to("../project2")


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "fifo")


def _socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("s")
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    "make", [_outside_link, _link_up, _link_through_a_link, _link_to_a_sibling_of_like_name, _fifo, _socket]
)
def test_what_leads_outside_or_is_no_file_is_refused_with_a_way_out(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder)
    with pytest.raises(SnapshotError, match=r"\.pipelineignore") as caught:
        _names(folder)
    assert str(folder) in str(caught.value)
    for name in names_in(folder):
        with (folder / ".pipelineignore").open("a") as file:
            file.write(f"{name}\n")
    assert _names(folder) == [".pipelineignore"]


def test_links_that_stay_inside_are_kept_as_relative_ones(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "file").write_text("x")
    (folder / "sub" / "absolute").symlink_to(folder / "file")
    (folder / "sub" / "relative").symlink_to("../file")
    (folder / "dangling").symlink_to("absent")
    with take_snapshot(folder) as snapshot:
        snapshot.tar.seek(0)
        with tarfile.open(fileobj=snapshot.tar) as tar:
            links = {member.name: member.linkname for member in tar if member.issym()}
    assert links == {"sub/absolute": "../file", "sub/relative": "../file", "dangling": "absent"}


def test_a_link_that_leads_to_itself_is_no_traceback(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    assert _names(folder) == ["a", "b", "loop"]


def test_storage_and_data_folders_are_never_packed_even_through_a_link(folder: Path) -> None:
    Storage.open(folder / "my storage")
    (folder / "my data").mkdir()
    (folder / "my data" / "service.lock").touch()
    (folder / "my data" / "service.json").write_text("s3cret")
    (folder.parent / "way").symlink_to(folder)
    (folder / "train.py").touch()
    assert _names(folder, folder / "my storage") == ["train.py"]
    assert _names(folder.parent / "way", folder.parent / "way" / "my storage") == ["train.py"]
    assert _names(folder, folder.parent / "way" / "my storage") == ["train.py"]


def test_ignore_rules_are_those_of_gitignore(folder: Path) -> None:
    (folder / ".pipelineignore").write_text("*.csv\n!keep.csv\n/data/\n# comment\n\n\\#odd\n")
    for name in ("a.csv", "keep.csv", "#odd", "train.py", ".env", "x.pyc"):
        (folder / name).touch()
    for name in ("data", "sub", "__pycache__", ".git", ".venv"):
        (folder / name).mkdir()
        (folder / name / "x").touch()
    assert _names(folder) == [".pipelineignore", "keep.csv", "sub", "sub/x", "train.py"]


def test_what_is_always_left_out_is_taken_in_again_where_the_ignore_file_says_so(folder: Path) -> None:
    (folder / "sub").mkdir()
    for name in (".env", ".env.local", "sub/.env"):
        (folder / name).touch()
    (folder / ".gitignore").write_text(".env.local\n")
    assert _names(folder) == [".env.local", ".gitignore", "sub"]
    (folder / ".pipelineignore").write_text("!/.env\n")
    assert _names(folder) == [".env", ".env.local", ".gitignore", ".pipelineignore", "sub"]


def test_too_many_files_are_refused_without_reading_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "MAX_FILES", 10)
    for number in range(11):
        (folder / str(number)).touch()
    with pytest.raises(SnapshotError, match="more than 10 files"):
        _names(folder)


def test_too_many_bytes_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "MAX_BYTES", 1024 * 1024)
    (folder / "a").write_bytes(b"x" * 700_000)
    (folder / "b").write_bytes(b"x" * 700_000)
    with pytest.raises(SnapshotError, match="1 MiB"):
        _names(folder)
    (folder / "c").write_bytes(b"x" * 1_100_000)
    with pytest.raises(SnapshotError, match=r"/a is|/b is|/c is|1 MiB"):
        _names(folder)


UNREADABLE = """
import os, sys
from pathlib import Path
from pipeline_queue.contract.errors import SnapshotError
from pipeline_queue.storage.snapshot import take_snapshot
os.setuid(65534)
try:
    take_snapshot(Path(sys.argv[1]))
except SnapshotError as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("name", "mode"), [("file", 0o000), ("folder", 0o000)])
def test_what_cannot_be_read_is_named(folder: Path, name: str, mode: int) -> None:
    for parent in (*folder.parents, folder):
        if parent.stat().st_uid == os.getuid() and parent not in (Path("/"), Path(tempfile.gettempdir())):
            parent.chmod(0o755)
    (folder / name).mkdir() if name == "folder" else (folder / name).touch()
    (folder / name).chmod(mode)
    # Imported as root: the package may lie where others cannot read.
    done = subprocess.run([sys.executable, "-c", UNREADABLE, str(folder)], capture_output=True, text=True, check=True)
    assert f"{folder / name} cannot be read: Permission denied" in done.stdout


def test_storing_the_same_content_twice_writes_it_once(folder: Path, tmp_path: Path) -> None:
    (folder / "train.py").write_text("x")
    storage = Storage.open(tmp_path / "storage")
    for _ in range(2):
        with take_snapshot(folder) as snapshot:
            snapshot.store(storage)
    assert names_in(storage.root / "snapshots") == [f"{snapshot.digest}.tar"]
    assert storage.snapshot(snapshot.digest).stat().st_mode & 0o777 == 0o644


def _of_sparse_files(folder: Path) -> None:
    for number in range(4):
        with (folder / f"model{number}.bin").open("wb") as file:
            file.truncate(140 * 1024**2)


def _of_one_endless_file(folder: Path) -> None:
    with (folder / "model0.bin").open("wb") as file:
        file.truncate(2**40)


def _of_many_files(folder: Path) -> None:
    (folder / "model0.bin").mkdir()
    for number in range(snapshot_module.MAX_FILES + 10):
        (folder / "model0.bin" / str(number)).touch()


@pytest.mark.parametrize("fill", [_of_sparse_files, _of_one_endless_file, _of_many_files])
def test_a_folder_over_the_limits_is_refused_before_any_file_is_read(
    folder: Path, fill: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder)
    monkeypatch.setattr(snapshot_module, "_read_regular", lambda entry: pytest.fail(f"{entry.path} was read"))
    with pytest.raises(SnapshotError, match=r"512 MiB.*model0.bin") as caught:
        _names(folder)
    assert ".pipelineignore" in str(caught.value)


def test_a_folder_of_too_many_files_is_not_listed_to_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        (folder / str(number)).touch()
    monkeypatch.setattr(snapshot_module, "MAX_FILES", 10)
    seen: list[str] = []
    listed = snapshot_module._listed

    def counted(of: Path) -> Iterator[os.DirEntry[str]]:
        for item in listed(of):
            seen.append(item.name)
            yield item

    monkeypatch.setattr(snapshot_module, "_listed", counted)
    with pytest.raises(SnapshotError):
        _names(folder)
    assert len(seen) < 20


def test_only_what_is_slow_to_copy_is_noted_with_its_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "train.py").write_text("x" * 2_000)
    with take_snapshot(folder) as snapshot:
        assert snapshot.size_note() == ""
    monkeypatch.setattr(snapshot_module, "NOTED_BYTES", 1_000)
    with take_snapshot(folder) as snapshot:
        assert "1 file " in snapshot.size_note() and ".pipelineignore" in snapshot.size_note()


@pytest.mark.parametrize("pattern", ["data/", "/data/", "data/*", "**/data/"])
def test_a_link_that_is_ignored_as_a_folder_is_told_apart(folder: Path, pattern: str) -> None:
    (folder / "data").symlink_to("/usr/share")
    (folder / ".pipelineignore").write_text(f"{pattern}\n")
    with pytest.raises(SnapshotError, match=r"a link is no folder: write data there without the slash") as caught:
        _names(folder)
    assert "links: [data]" in str(caught.value)


def test_a_virtual_environment_that_is_a_link_is_left_out_like_any(folder: Path) -> None:
    (folder / ".venv").symlink_to("/usr/share")
    (folder / "node_modules").symlink_to("/usr/share")
    assert _names(folder) == []


def test_what_a_pipeline_declares_as_links_is_not_packed(folder: Path) -> None:
    (folder / "data").symlink_to("/usr/share")
    (folder / "cache").mkdir()
    (folder / "cache" / "file").touch()
    (folder / "train.py").touch()
    with take_snapshot(folder, links={"data": "/usr/share", "cache": "/scratch"}) as snapshot:
        assert list(snapshot.contents) == ["train.py"]


def test_what_vanishes_while_the_folder_is_packed_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (folder / name).write_text(name)
    (folder / "link").symlink_to("a")
    (folder / "sub").mkdir()
    (folder / "sub" / "d").touch()
    order = snapshot_module._in_order

    def listed_before_it_vanished(*arguments: Any) -> list[snapshot_module.Entry]:
        found = order(*arguments)
        (folder / "b").unlink()
        (folder / "link").unlink()
        return found

    monkeypatch.setattr(snapshot_module, "_in_order", listed_before_it_vanished)
    assert _names(folder) == ["a", "c", "sub", "sub/d"]


def test_a_log_that_grows_is_packed_as_it_was_at_one_moment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "log").write_text("one\n")
    _meanwhile(monkeypatch, lambda: _append(folder / "log", "two\n"))
    with take_snapshot(folder) as snapshot:
        assert snapshot.size_bytes == 4


def test_a_file_that_is_always_rewritten_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "state").write_text("one")
    moments = iter(range(1, 100))
    _meanwhile(monkeypatch, lambda: os.utime(folder / "state", (1, next(moments))))
    with pytest.raises(SnapshotError, match="changes while it is read"):
        _names(folder)


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _meanwhile(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Has something happen to a file each time it has been read."""
    read = snapshot_module._read_bytes

    def read_and_changed(file: Any, size: int) -> bytes:
        data = read(file, size)
        change()
        return data

    monkeypatch.setattr(snapshot_module, "_read_bytes", read_and_changed)
