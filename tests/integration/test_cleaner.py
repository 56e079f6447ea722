"""A worker that lives removes what killed ones left, and files that were kept for too long."""

from __future__ import annotations

import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from pipeline_queue.storage.kept_files import note_kept, remove_kept_above
from pipeline_queue.storage.run_store import KeptTotal
from pipeline_queue.storage.storage import Storage
from tests.conftest import wait_until
from tests.integration.test_workspace import Bench
from workers.agents.cleaner import Cleaner
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
    note_kept(storage.root, old, date(2026, 1, 1))
    note_kept(storage.root, young, date(2026, 1, 2))
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
    tidier = Cleaner(workspaces, storage, keep_days=7)
    tidier.start()
    try:
        wait_until(lambda: not left.exists(), "the folder is removed")
    finally:
        tidier.stop()


def test_one_entry_that_is_no_link_of_ours_keeps_no_others_from_going(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    first, second = attempt_of(storage, "a.attempt-1-0a"), attempt_of(storage, "a.attempt-2-0b")
    note_kept(storage.root, first, date(2026, 1, 1))
    note_kept(storage.root, second, date(2026, 1, 2))
    (storage.root / "kept" / "2026-01-01" / "0").write_text("no link")
    assert storage.remove_kept(before=date(2026, 1, 3)) == 2
    assert not (first / "kept").exists() and not (second / "kept").exists()


def test_kept_files_of_an_attempt_that_lost_its_lease_go_too(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    attempt = attempt_of(storage, "a.attempt-1-0a")
    note_kept(storage.root, attempt, date(2026, 1, 1))
    lost = attempt.rename(attempt.with_name(f"{attempt.name}.lost"))
    storage.remove_kept(before=date(2026, 1, 2))
    assert sorted(path.name for path in lost.iterdir()) == ["log"]


def test_any_number_of_days_is_kept(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    attempt = attempt_of(storage, "a.attempt-1-0a")
    note_kept(storage.root, attempt, date(2026, 1, 1))
    workspaces = Workspaces(tmp_path / "scratch", storage)
    left = tmp_path / "scratch" / "work" / "0a0b"
    tidier = Cleaner(workspaces, storage, keep_days=10**17)
    left.mkdir()
    os.utime(left, (1, 1))
    tidier.start()
    try:
        wait_until(lambda: not left.exists(), "the folder is removed")
    finally:
        tidier.stop()
    assert (attempt / "kept").is_dir()


@pytest.mark.parametrize("gone", ["", "work", "snapshots"])
def test_a_scratch_folder_that_was_cleaned_away_is_made_again(tmp_path: Path, gone: str) -> None:
    """As what cleans a system's temporary folder does, when a worker had nothing to do for days."""
    bench = Bench(tmp_path)
    (bench.source / "a").write_text("x")
    bench.step(lambda folder: (folder / "b").write_text("y"))
    shutil.rmtree(bench.scratch / gone)
    assert bench.next_finds() == {"a": "x", "b": "y"}
    shutil.rmtree(bench.scratch / gone)
    tidier = Cleaner(bench.workspaces, bench.storage, keep_days=7)
    tidier.start()
    try:
        wait_until((bench.scratch / "work").is_dir, "the folder is made again")
    finally:
        tidier.stop()
    assert bench.scratch.stat().st_mode & 0o777 == 0o700


def test_of_all_that_is_kept_the_oldest_goes_when_it_is_too_much(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    attempts = [attempt_of(storage, f"a.attempt-{n}-0{n}") for n in range(1, 6)]
    for day, attempt in enumerate(attempts, start=1):
        note_kept(storage.root, attempt, date(2026, 1, day), size_bytes=100)
    assert storage.kept_total() == KeptTotal(5, 500)
    assert remove_kept_above(storage.root, 500) == 0
    assert remove_kept_above(storage.root, 250) == 3
    assert [(attempt / "kept").exists() for attempt in attempts] == [False, False, False, True, True]
    assert all((attempt / "log").exists() for attempt in attempts)
    assert storage.kept_total() == KeptTotal(2, 200)
    assert remove_kept_above(storage.root, 500, limit_attempts=1) == 1
    assert (attempts[4] / "kept").exists()


def test_what_is_gone_already_makes_no_younger_files_go(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    gone, there, early = (attempt_of(storage, f"a.attempt-{n}-0{n}") for n in range(1, 4))
    for attempt in (gone, there):
        note_kept(storage.root, attempt, date(2026, 1, 2), size_bytes=100)
    note_kept(storage.root, early, date(2026, 1, 1))  # by a version that told no size
    shutil.rmtree(gone / "kept")
    assert remove_kept_above(storage.root, 150) == 0
    assert storage.kept_total() == KeptTotal(2, 101)
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    (storage.root / "kept" / "2026-01-01" / "1-1000-0a").symlink_to(outside)
    assert remove_kept_above(storage.root, 150) == 0
    assert (outside / "kept").is_dir() and (there / "kept").exists()


def test_a_worker_keeps_within_the_limit_of_all(tmp_path: Path) -> None:
    storage = Storage.open(tmp_path / "storage")
    attempts = [attempt_of(storage, f"a.attempt-{n}-0{n}") for n in (1, 2)]
    for attempt in attempts:
        note_kept(storage.root, attempt, date(2026, 1, attempts.index(attempt) + 1), size_bytes=100)
    cleaner = Cleaner(Workspaces(tmp_path / "scratch", storage), storage, keep_days=10**6, keep_total_bytes=100)
    cleaner.start()
    try:
        wait_until(lambda: not (attempts[0] / "kept").exists(), "the older one goes")
    finally:
        cleaner.stop()
    assert (attempts[1] / "kept").exists()
