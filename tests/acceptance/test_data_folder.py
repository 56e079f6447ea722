"""Where runs are kept without a broker: which folder is looked at, whose it must be, and what is said when it cannot be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_queue.local.attach import running_service
from pipeline_queue.local.folder import DataFolder, ServiceNote
from tests.conftest import Shell, lives, plain_environment, wait_until, write_folder
from tests.integration.step_bench import command_of
from workers.supervisor.process_tree import descendants

PIPELINE = "pipeline:\n  steps:\n    - go: {run: ['true']}\n"
WAITS = "pipeline:\n  steps:\n    - go: {run: [sleep, '600']}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)


def test_reading_commands_look_upwards_and_say_where(folder: Path) -> None:
    shell = Shell(folder)
    run = shell("run", "pipeline.yaml", "--json").stdout
    below = Shell(write_folder(folder / "a" / "b"))
    for words in (["status"], ["status", "last"], ["trace", "last"], ["outputs", "last"], ["logs", "last"], ["doctor"]):
        done = below(*words)
        assert str(folder / "pipeline-queue-data") in done.stderr
    assert below.json("status", "last", "--json")["run"] == json.loads(run)["run"]
    assert "nothing to retry" in below("retry", "last").stderr
    assert list((folder / "a").rglob("*")) == [folder / "a" / "b"], "nothing was made below"
    below("forget", "last", "--yes")
    assert shell.json("status", "--json")["runs"] == []


def test_where_there_are_no_runs_the_folder_that_was_looked_in_is_named(folder: Path) -> None:
    shell = Shell(folder)
    where = str(folder / "pipeline-queue-data" / "storage")
    assert where in shell("status").stdout and where in shell("list").stdout
    assert where in shell("status", "last", exit_code=2).stderr
    assert shell.json("status", "--json")["storage"] == where


def test_a_run_below_other_runs_stays_here_and_says_so(folder: Path) -> None:
    Shell(folder)("run", "pipeline.yaml")
    below = Shell(write_folder(folder / "sub", pipeline_yaml=PIPELINE))
    told = below("run", "pipeline.yaml").stderr
    assert f"PIPELINE_QUEUE_DATA={folder / 'pipeline-queue-data'}" in told
    assert "PIPELINE_QUEUE_DATA" not in below("run", "pipeline.yaml").stderr, "once it is there it is no question"
    assert len(below.json("status", "--json")["runs"]) == 2


def test_git_ignores_the_folder_and_an_own_folder_is_left_as_it_is(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    Shell(folder)("run", "pipeline.yaml")
    inside = Shell(folder, plain_environment(PIPELINE_QUEUE_DATA=str(folder / "made-for-it")))
    inside("run", "pipeline.yaml")
    listed = subprocess.run(["git", "status", "--porcelain"], cwd=folder, check=True, capture_output=True, text=True)
    assert listed.stdout.split() == ["??", "pipeline.yaml"]
    here = Shell(folder, plain_environment(PIPELINE_QUEUE_DATA="."))
    here("run", "pipeline.yaml")
    assert not (folder / ".gitignore").exists(), "a project is not made invisible"


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounts need root and unshare")
def test_a_project_that_cannot_be_written_names_the_way_out(folder: Path) -> None:
    mounted = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'
    for words in (["run", "pipeline.yaml"], ["up", "--no-flower"]):
        command = ["unshare", "-m", "sh", "-c", mounted, str(folder), sys.executable, "-m", "pipeline_queue", *words]
        done = subprocess.run(command, env=plain_environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 3 and "Traceback" not in done.stderr
        assert "PIPELINE_QUEUE_DATA=" in done.stderr and str(folder) in done.stderr
    elsewhere = Shell(folder, plain_environment(PIPELINE_QUEUE_DATA=str(folder.parent / "elsewhere")))
    elsewhere("run", "pipeline.yaml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_folder_that_another_user_made_beforehand_is_refused(folder: Path, kind: str) -> None:
    data = folder / "pipeline-queue-data"
    trap = folder.parent / "trap"
    trap.mkdir()
    if kind == "folder":
        data.mkdir()
    else:
        data.symlink_to(trap)
    note = {"v": 1, "pid": 1, "broker_url": "redis://127.0.0.1:1/0", "flower_url": None, "while_needed": False}
    (data / "service.json").write_text(json.dumps(note))
    (data / "service.lock").touch()
    for path in (trap, data, data / "service.json", data / "service.lock"):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    shell = Shell(folder)
    for words in (["run", "pipeline.yaml"], ["up", "--no-flower"], ["retry", "last"]):
        told = shell(*words, exit_code=3).stderr
        assert str(data) in told and "PIPELINE_QUEUE_DATA" in told, told
    assert running_service(DataFolder.of({}, folder)) is None
    shell("status")
    assert not (data / "storage").exists() and not (data / "environments").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_scratch_folder_of_another_user_is_named_by_the_command_itself(folder: Path) -> None:
    scratch = folder.parent / "scratch"
    scratch.mkdir()
    os.chown(scratch, 65534, 65534)
    shell = Shell(folder, plain_environment(PIPELINE_QUEUE_SCRATCH=str(scratch)))
    for words in (["run", "pipeline.yaml"], ["up", "--no-flower"]):
        told = shell(*words, exit_code=3).stderr
        assert f"{scratch} is not a folder of this user; set PIPELINE_QUEUE_SCRATCH" in told, told


def test_a_storage_that_cannot_be_used_is_named_by_the_command_itself(folder: Path) -> None:
    storage = folder / "pipeline-queue-data" / "storage"
    storage.mkdir(parents=True)
    (storage / "pipeline_queue.json").write_text('{"v": 99}')
    told = Shell(folder)("run", "pipeline.yaml", exit_code=3).stderr
    assert "was made by another version of pipeline_queue" in told, told
    shutil.rmtree(storage)
    Shell(folder)("run", "pipeline.yaml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_note_that_another_user_left_in_our_folder_is_not_believed(folder: Path) -> None:
    data = DataFolder.of({}, folder)
    data.make()
    data.write_note(ServiceNote(1, "redis://127.0.0.1:1/0", None, True))
    assert data.read_note() is not None
    os.chown(data.root / "service.json", 65534, 65534)
    assert data.read_note() is None


@pytest.mark.parametrize("how", ["removed", "emptied", "storage removed", "made anew"])
def test_a_service_whose_folder_is_gone_ends_by_itself_with_its_steps(folder: Path, how: str) -> None:
    write_folder(folder, pipeline_yaml=WAITS)
    shell = Shell(folder)
    shell("run", "pipeline.yaml", "--detach")
    data = DataFolder.of({}, folder)
    note = running_service(data)
    assert note is not None
    (step,) = wait_until(lambda: _waiting_steps(note.pid), "the step runs")
    if how == "made anew":
        data.root.rename(folder.parent / "away")
        write_folder(folder, pipeline_yaml=PIPELINE)
        shell("run", "pipeline.yaml")
    else:
        _remove(data.storage if how == "storage removed" else data.root, stays=how == "emptied")
    wait_until(lambda: not lives(note.pid) and not lives(step), "the service has ended, and its step")
    write_folder(folder, pipeline_yaml=PIPELINE)
    shell("run", "pipeline.yaml")


def _remove(folder: Path, stays: bool) -> None:
    """Though a worker may write there meanwhile."""

    def removed() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_until(removed, "it is removed")
    if stays:
        folder.mkdir()


def _waiting_steps(service: int) -> list[int]:
    return [pid for pid in descendants([service]) if command_of(pid) == b"sleep\x00600"]
