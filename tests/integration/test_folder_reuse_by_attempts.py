"""The steps of a real worker, one after the other in one folder that is put back in between."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline_queue.storage.disk import Room
from tests.conftest import wait_until
from tests.integration.attempt_site import Attempting, Site, names_in
from workers.agents import disk_monitor
from workers.agents.disk_monitor import DiskMonitor
from workers.folder_pool import can_see_changes

_WRITES = "import os; open('of-' + os.environ['PIPELINE_QUEUE_RUN_ID'], 'w').close(); open('data', 'a').close()"
_SEES = "import json, os; json.dump([os.stat('data').st_ino, sorted(os.listdir())], open('seen', 'w'))"


@pytest.fixture(autouse=True)
def _folders_are_used_again(tmp_path: Path, site: Site) -> None:
    if not can_see_changes(tmp_path):
        pytest.skip("this file system does not show every change of a file, so no folder is used again")
    site.settings = replace(site.settings, reuses_folders=True)


def _pipeline(first: str, second: str = _SEES) -> str:
    one, two = (json.dumps(code) for code in (first, second))
    return f"pipeline:\n  steps:\n  - one: {{run: [python, -c, {one}]}}\n  - two: {{run: [python, -c, {two}]}}\n"


def test_the_runs_of_a_worker_use_one_folder_and_find_their_own_files_only(site: Site) -> None:
    project = site.settings.storage.parent / "project"
    project.mkdir()
    (project / "data").write_text("x")
    worker, inodes = site.worker(), set()
    for _ in range(3):
        run = site.submit(_pipeline(_WRITES))
        assert [run.attempt(worker, step).kind for step in ("one", "two")] == ["go_on", "go_on"]
        inode, names = json.loads((run.paths.step("two") / "outputs" / "seen").read_text())
        assert names == ["data", f"of-{run.id}", "pipeline.yaml"]
        inodes.add(inode)
    assert len(inodes) == 1


@pytest.mark.parametrize(
    ("code", "is_used_again"), [("", True), ("raise SystemExit(3)", True), ("import time; time.sleep(60)", False)]
)
def test_the_folder_of_a_failed_step_is_used_again_but_not_of_a_cancelled_one(
    site: Site, code: str, is_used_again: bool
) -> None:
    worker, run = site.worker(), site.submit(_pipeline(f"open('new', 'w').close(); {code or 'pass'}"))
    doing = Attempting(run, worker, "one")
    if not is_used_again:
        wait_until(lambda: any((site.settings.scratch / "work").rglob("new")), "the step runs")
        site.run_index.cancel(run.id)
    doing.outcome()
    waiting = [path for owner in (site.settings.scratch / "pool").glob("*") for path in owner.iterdir()]
    assert len(waiting) == is_used_again
    assert [names_in(path) for path in waiting] == [["pipeline.yaml"]] * is_used_again
    assert names_in(site.settings.scratch / "work") == []


_HIDES = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    os.execve("/bin/sh", ["sh", "-c", "touch ready; exec sleep 1000"], {})
os.wait()
while not os.path.exists("ready"):
    pass
"""


def test_a_folder_to_which_a_hidden_process_may_write_is_not_used_again(site: Site) -> None:
    worker, busy = site.worker(), site.submit(_pipeline("import time; open('up', 'w').close(); time.sleep(1000)"))
    other = Attempting(busy, worker, "one")
    wait_until(lambda: any((site.settings.scratch / "work").rglob("up")), "another step runs")
    run = site.submit(_pipeline(_HIDES))
    assert run.attempt(worker, "one").kind == "go_on"
    assert [path for owner in (site.settings.scratch / "pool").glob("*") for path in owner.iterdir()] == []
    site.run_index.cancel(busy.id)
    other.outcome()


def test_the_folders_that_wait_make_room_on_a_full_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = site.worker()
    site.submit(_pipeline(_WRITES)).attempt(worker, "one")
    assert worker.workspaces.idle().folders == 1
    # Full as long as a folder waits: a disk of that size cannot be had here.
    monkeypatch.setattr(
        disk_monitor, "room_of", lambda _: Room(0 if worker.workspaces.idle().folders else 2**30, inodes=None)
    )
    make_room = partial(worker.workspaces.remove_idle, 0.0)
    disks = DiskMonitor(site.storage, site.settings.scratch, site.run_index, worker.admission, make_room)
    assert disks.trouble("scratch") == ""
    assert worker.workspaces.idle().folders == 0
