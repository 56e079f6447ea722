"""Which container engines a worker finds, and what it makes of the setting about folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_queue.contract.errors import SettingsError
from pipeline_queue.contract.settings import REUSE_FOLDERS, settings_from
from workers import container_engines
from workers.container_engines import usable_engine

_NEEDED = {"PIPELINE_QUEUE_BROKER_URL": "redis://localhost", "PIPELINE_QUEUE_STORAGE": "/storage"}


@pytest.fixture(autouse=True)
def _none_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_engines, "_SYSTEM_FOLDERS", ())


def test_without_an_engine_there_is_none(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none"}
    assert usable_engine(environment) is None


@pytest.mark.parametrize("name", ["docker.sock", "podman/podman.sock", "containerd/containerd.sock"])
def test_an_engine_of_the_user_is_found(tmp_path: Path, name: str) -> None:
    socket = tmp_path / name
    socket.parent.mkdir(exist_ok=True)
    socket.touch()
    assert usable_engine({"XDG_RUNTIME_DIR": str(tmp_path)}) == str(socket)


def test_an_engine_of_the_system_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_engines, "_SYSTEM_FOLDERS", (str(tmp_path),))
    (tmp_path / "crio").mkdir()
    (tmp_path / "crio/crio.sock").touch()
    assert usable_engine({"XDG_RUNTIME_DIR": "/nonexistent"}) == str(tmp_path / "crio/crio.sock")


@pytest.mark.parametrize("address", ["unix://{}/own.sock", "{}/own.sock"])
def test_an_address_of_a_socket_is_followed(tmp_path: Path, address: str) -> None:
    (tmp_path / "own.sock").touch()
    variables = {"XDG_RUNTIME_DIR": "/nonexistent", "CONTAINER_HOST": address.format(tmp_path)}
    assert usable_engine(variables) == f"{tmp_path}/own.sock"


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:2375", "ssh://user@host", "npipe:////./pipe/docker"])
def test_an_engine_elsewhere_counts(address: str) -> None:
    assert usable_engine({"XDG_RUNTIME_DIR": "/nonexistent", "DOCKER_HOST": address}) == "DOCKER_HOST"


@pytest.mark.parametrize(("text", "meaning"), [("", None), ("0", False), ("1", True)])
def test_the_setting_wins_and_reads_back(text: str, meaning: bool | None) -> None:
    settings = settings_from({**_NEEDED, REUSE_FOLDERS: text})
    assert settings.reuses_folders is meaning
    assert settings_from(settings.environment()).reuses_folders is meaning


def test_another_word_for_the_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be 1 or 0, not 'yes'"):
        settings_from({**_NEEDED, REUSE_FOLDERS: "yes"})
