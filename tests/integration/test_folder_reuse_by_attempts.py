"""The steps of a real worker, one after the other in one folder that is put back in between."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.integration.attempt_site import Attempting, Site, names_in
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
