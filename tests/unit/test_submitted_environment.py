"""What a submitter sends to the embedded service: read back as it was, refused when it cannot be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import InputError, StorageError
from pipeline_queue.storage.private_folder import check_private_folder, make_private_folder, read_private_file
from pipeline_queue.storage.submitted_environment import MAX_ENVIRONMENT_BYTES, EnvironmentFolder, SubmittedEnvironment

SWEEP = "train-00000000"


def _environment(**variables: str) -> SubmittedEnvironment:
    return SubmittedEnvironment(Path("/venv/bin/python"), variables)


@pytest.mark.parametrize("value", ["", "a b=c\n$HOME", "päß🦊", os.fsdecode(b"\xff\xfe"), "x" * 100_000], ids=ascii)
def test_a_value_is_read_back_as_it_was(tmp_path: Path, value: str) -> None:
    folder = EnvironmentFolder(tmp_path / "environments")
    folder.write(SWEEP, _environment(NAME=value))
    assert folder.read(SWEEP) == _environment(NAME=value)
    assert (tmp_path / "environments").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "environments" / f"{SWEEP}.json").stat().st_mode & 0o777 == 0o600
    folder.remove(SWEEP)
    assert folder.read(SWEEP) is None and list(folder.sweeps()) == []


def test_an_environment_that_is_too_large_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = EnvironmentFolder(tmp_path / "environments")
    with pytest.raises(InputError, match="unset the largest"):
        folder.write(SWEEP, _environment(NAME="x" * MAX_ENVIRONMENT_BYTES))
    assert not folder.path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"{}", b'{"v": 2}', b'{"v": 1}', b'{"v": 1, "python": 1, "variables": {}}', b"[" * 99999,
     b'{"v": 1, "python": "/p", "variables": {"A": 1}}', b"\xff", b'{"v": 1, "python": "/p", "variables": []}'],
    ids=lambda content: ascii(content)[:20],
)  # fmt: skip
def test_a_damaged_file_is_no_environment(tmp_path: Path, content: bytes) -> None:
    folder = EnvironmentFolder(tmp_path)
    (tmp_path / f"{SWEEP}.json").write_bytes(content)
    assert folder.read(SWEEP) is None


def test_our_own_settings_are_never_given_to_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_QUEUE_BROKER_URL", "redis://:secret@host/0")
    folder = EnvironmentFolder(tmp_path)
    folder.write(SWEEP, SubmittedEnvironment.of_this_process())
    assert b"secret" not in (tmp_path / f"{SWEEP}.json").read_bytes()
    data = b'{"v": 1, "python": "/p", "variables": {"PIPELINE_QUEUE_ATTEMPT": "x", "A": "1"}}'
    assert SubmittedEnvironment.decode(data).variables == {"A": "1"}


def test_a_file_that_others_may_write_or_a_link_is_not_trusted(tmp_path: Path) -> None:
    folder = EnvironmentFolder(tmp_path)
    folder.write(SWEEP, _environment(A="1"))
    file = tmp_path / f"{SWEEP}.json"
    file.chmod(0o620)
    assert folder.read(SWEEP) is None
    file.chmod(0o600)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert folder.read(SWEEP) is None
    file.unlink()
    os.mkfifo(file)
    assert read_private_file(file, 100) is None, "and a pipe is not waited for"


def test_a_terminal_s_variables_make_no_other_environment() -> None:
    here, there = _environment(A="1", SHLVL="1", PWD="/a"), _environment(A="2", SHLVL="2", B="3")
    assert here.differences(there) == ["A", "B"]
    assert SubmittedEnvironment(Path("/other"), here.variables).differences(here) == ["Python"]


def test_a_private_folder_is_made_and_one_of_a_wide_umask_is_narrowed(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "private"
    assert make_private_folder(folder, "remedy") and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert not make_private_folder(folder, "remedy") and folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["file", "dangling", "below a file"])
def test_what_is_no_folder_is_refused_with_the_remedy(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "here"
    if kind == "dangling":
        folder.symlink_to(tmp_path / "absent")
    else:
        folder.touch()
    with pytest.raises(StorageError, match="do that instead"):
        make_private_folder(folder / "more" if kind == "below a file" else folder, "do that instead")


def test_a_link_of_this_user_s_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").symlink_to("elsewhere")
    assert not make_private_folder(tmp_path / "here", "remedy")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("kind", ["folder", "link", "link to a folder of theirs"])
def test_what_another_user_made_is_refused_with_owner_and_mode(tmp_path: Path, kind: str) -> None:
    folder, own = tmp_path / "here", tmp_path / "own"
    own.mkdir()
    if kind == "folder":
        folder.mkdir()
    else:
        folder.symlink_to(own)
    os.chown(own if "theirs" in kind else folder, 65534, -1, follow_symlinks=False)
    with pytest.raises(StorageError, match=r"nobody|65534") as caught:
        make_private_folder(folder, "do that instead")
    assert str(folder) in str(caught.value) and "do that instead" in str(caught.value)
    if kind == "folder":
        assert "0755" in str(caught.value)
    with pytest.raises(StorageError):
        check_private_folder(folder, "do that instead")
