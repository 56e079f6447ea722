"""A worker that lives removes what killed ones left, and files that were kept for too long."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from pipeline_queue.contract.storage import Storage
from tests.conftest import wait_until
from workers.tidying import Tidier
from workers.workspace import Workspaces


def attempt_of(storage: Storage, name: str) -> Path:
    attempt = storage.sweep("demo-7k3m9q2x") / "runs" / "0" / name
    (attempt / "kept").mkdir(parents=True)
    (attempt / "kept" / "a.ckpt").write_text("x")
    (attempt / "log").write_text("log")
    return attempt


def test_kept_files_go_when_their_day_is_over(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    old, young = attempt_of(storage, "a.attempt-1-0a"), attempt_of(storage, "a.attempt-2-0b")
    storage.note_kept(old, date(2026, 1, 1))
    storage.note_kept(young, date(2026, 1, 2))
    assert storage.remove_kept(before=date(2026, 1, 2)) == 1
    assert sorted(path.name for path in old.iterdir()) == ["log"]
    assert (young / "kept" / "a.ckpt").exists()
    assert [path.name for path in (storage.root / "kept").iterdir()] == ["2026-01-02"]


def test_a_link_among_the_kept_that_leads_outside_removes_nothing(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    day = storage.root / "kept" / "2026-01-01"
    day.mkdir(parents=True)
    (day / "x").symlink_to(outside)
    assert storage.remove_kept(before=date(2026, 1, 2)) == 0
    assert (outside / "kept").is_dir()


def test_folders_of_killed_workers_go_while_another_lives(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    workspaces = Workspaces(tmp_path / "scratch", storage)
    left = tmp_path / "scratch" / "work" / "0a0b"
    left.mkdir()
    os.utime(left, (1, 1))
    tidier = Tidier(workspaces, storage, keep_days=7)
    tidier.start()
    try:
        wait_until(lambda: not left.exists(), "the folder is removed")
    finally:
        tidier.stop()
