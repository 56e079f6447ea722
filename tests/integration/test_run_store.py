"""The conformance suite of `RunStore`: what every store promises, whatever it is made of.

Exclusive commits, one publication, late writers fenced off, a crash between any two operations, reads that are never
torn. A new store joins by a line in `store_kinds.STORES`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.records import SweepEnd
from pipeline_queue.storage.run_store import AttemptSlot, RunStore
from tests.integration.store_crashes import WORKS
from tests.integration.store_kinds import CARELESS, STORES, open_store
from tests.integration.store_site import (
    LOG_BYTES,
    STEP,
    SWEEP,
    end_record,
    filled_slot,
    new_folder,
    published_uid,
    run_of,
    sweep_record,
    uid_of,
)
from tests.limits import LIMIT_SECONDS, join_all

_WRITERS = 8
_ROUNDS = 10
_MIN_PLACES = {"commit": 5, "publish": 20, "share": 20, "retry": 5, "delete": 5}
"""Fewer places to be killed at would mean that the operations are not seen."""


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> RunStore:
    opened = open_store(kind, tmp_path / "store")
    assert opened.commit_sweep(sweep_record(), b"text")
    return opened


def _together(works: list[Callable[[], Any]]) -> list[Any]:
    """What each thread got, an error too; all let go at the same moment."""
    gate = threading.Barrier(len(works))
    results: list[Any] = [None] * len(works)

    def one(number: int) -> None:
        gate.wait(LIMIT_SECONDS)
        try:
            results[number] = works[number]()
        except (OSError, StorageError) as error:
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    join_all(threads)
    return results


def _slots(store: RunStore, folder: Path, count: int) -> list[AttemptSlot]:
    return [filled_slot(store, attempt, new_folder(folder)) for attempt in range(1, count + 1)]


def test_one_of_several_submitters_commits_a_sweep(store: RunStore) -> None:
    record = sweep_record("train-aaaaaaaa")
    won = _together([lambda: store.commit_sweep(record, b"text")] * _WRITERS)
    assert won.count(True) == 1
    assert store.read_sweep(record.id) == record
    assert set(store.sweeps()) == {SWEEP, record.id}


def test_what_was_never_committed_is_not_found(store: RunStore) -> None:
    for name in ("train-bbbbbbbb", "../train-7k3m9q2x", ""):
        with pytest.raises(NotFoundError):
            store.read_sweep(name)


def test_of_many_attempts_one_is_published_whole(kind: str, tmp_path: Path) -> None:
    for number in range(_ROUNDS):
        store = open_store(kind, tmp_path / str(number))
        store.commit_sweep(sweep_record(), b"text")
        slots = _slots(store, tmp_path / "work", _WRITERS)
        step = run_of(store).step(STEP)
        won = _together([lambda slot=slot, step=step: slot.publish(step) for slot in slots])  # type: ignore[misc]
        assert won.count(True) == 1
        assert published_uid(store, new_folder(tmp_path) / "seen") == uid_of(won.index(True) + 1)


def test_a_publication_may_be_repeated_by_its_own_attempt_alone(store: RunStore, tmp_path: Path) -> None:
    first, second = _slots(store, tmp_path, 2)
    step = run_of(store).step(STEP)
    assert [first.publish(step), first.publish(step), second.publish(step), first.publish(step)] == [
        True,
        True,
        False,
        True,
    ]


def test_nothing_of_an_attempt_is_seen_before_it_is_published(store: RunStore, tmp_path: Path) -> None:
    slot = filled_slot(store, 1, tmp_path)
    step = run_of(store).step(STEP)
    assert not step.is_published() and step.record() is None and run_of(store).end() is None
    assert slot.log_end(100) == LOG_BYTES
    slot.discard()
    slot.discard()
    assert not any(name.startswith(STEP) for name in run_of(store).names())


def test_an_attempt_that_was_fenced_off_publishes_and_ends_nothing(store: RunStore, tmp_path: Path) -> None:
    late, later = _slots(store, tmp_path, 2)
    run = run_of(store)
    run.fence_off(STEP, 1)
    with pytest.raises((OSError, StorageError)):
        late.publish(run.step(STEP))
    with pytest.raises((OSError, StorageError)):
        run.write_end(end_record("late"), within=late)
    assert not run.step(STEP).is_published() and run.end() is None
    assert later.publish(run.step(STEP)) and run.write_end(end_record("later"))
    assert published_uid(store, tmp_path / "seen") == uid_of(2)


def test_a_fence_and_a_publication_at_once_leave_one_winner(kind: str, tmp_path: Path) -> None:
    for number in range(_ROUNDS):
        store = open_store(kind, tmp_path / str(number))
        store.commit_sweep(sweep_record(), b"text")
        first, second = _slots(store, tmp_path / "work", 2)
        step = run_of(store).step(STEP)
        published, fenced = _together([lambda: first.publish(step), lambda: run_of(store).fence_off(STEP, 1)])  # noqa: B023
        assert fenced is None
        is_first = published is True
        assert second.publish(step) is not is_first
        assert published_uid(store, new_folder(tmp_path) / "seen") == uid_of(1 if is_first else 2)


def test_one_of_several_ends_a_run_and_its_end_stays(store: RunStore) -> None:
    records = [end_record(f"by {number}") for number in range(_WRITERS)]
    won = _together([lambda record=record: run_of(store).write_end(record) for record in records])  # type: ignore[misc]
    assert won.count(True) == 1
    assert run_of(store).end() == records[won.index(True)]


def test_a_retried_run_keeps_how_it_ended_before(store: RunStore) -> None:
    run = run_of(store)
    for number in range(3):
        assert run.write_end(end_record(str(number)))
        run.reopen()
        run.reopen()
        assert run.end() is None
        assert run.former_end(run.names()) == end_record(str(number))


def test_a_shared_step_is_the_steps_of_all_runs_that_link_to_it(store: RunStore, tmp_path: Path) -> None:
    shared = store.shared_step(SWEEP, "one-abc")
    slot = filled_slot(store, 1, tmp_path / "work")
    assert slot.publish(shared) and store.shared_steps(SWEEP) == {"one-abc"}
    assert not run_of(store).step(STEP).is_published()
    _together([lambda: run_of(store).link(STEP, shared)] * _WRITERS)
    assert published_uid(store, tmp_path / "seen") == uid_of(1)


def test_a_record_that_is_replaced_is_never_seen_half_done(store: RunStore, tmp_path: Path) -> None:
    slot = filled_slot(store, 1, tmp_path)
    name = slot.name
    record = run_of(store).attempt_record(name)
    assert record is not None
    done = threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not done.is_set():
            try:
                seen = run_of(store).attempt_record(name)
                end = store.sweep_end(SWEEP)
            except StorageError as error:
                torn.append(error)
                continue
            if seen is None or set(seen.message) - {seen.message[:1]} or (end and end.counts["a"] != end.counts["b"]):
                torn.append((seen, end))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(200):
        slot.write_record(record.model_copy(update={"message": str(number % 10) * 20_000}))
        counts = {"a": number, "b": number}
        store.end_sweep(
            SweepEnd(sweep=SWEEP, state="succeeded", total=1, counts=counts, created_at=1.0, ended_at=float(number))
        )
    done.set()
    join_all(readers)
    assert torn == []


def test_requests_stay_until_they_are_taken_back(store: RunStore) -> None:
    store.request_cancel(SWEEP)
    store.set_paused(SWEEP, True)
    store.choose_retry(SWEEP, [3, 1])
    run_of(store).request_cancel()
    assert store.is_cancelled(SWEEP) and store.is_paused(SWEEP) and store.retry_choice(SWEEP) == frozenset({1, 3})
    assert "cancel.requested" in run_of(store).names()
    store.set_paused(SWEEP, False)
    assert not store.is_paused(SWEEP)
    store.reopen_sweep(SWEEP)
    store.choose_retry(SWEEP, None)
    assert not store.is_cancelled(SWEEP) and store.retry_choice(SWEEP) is None


def test_runs_are_listed_with_their_index_and_their_ends(store: RunStore) -> None:
    run_of(store).write_end(end_record())
    assert [index for index, _ in store.runs(SWEEP)] == [0]
    assert [json.loads(data)["run"] for _, data in store.run_ends(SWEEP)] == [f"{SWEEP}.0"]
    store.delete_sweep(sweep_record())
    assert not store.has_sweep(SWEEP) and list(store.runs(SWEEP)) == []
    with pytest.raises(NotFoundError):
        list(store.run_ends(SWEEP))


def _crash(kind: str, work: str, folder: Path) -> dict[str, Any]:
    arguments = [sys.executable, "-m", "tests.integration.store_crashes", kind, work, str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("work", WORKS)
def test_a_process_killed_between_any_two_operations_leaves_nothing_half_done(
    kind: str, work: str, tmp_path: Path
) -> None:
    found = _crash(kind, work, tmp_path)
    assert found["wrong"] == []
    assert found["places"] >= _MIN_PLACES[work]


def test_the_suite_notices_a_store_whose_publication_can_be_seen_half_done(tmp_path: Path) -> None:
    assert "published without its manifest" in str(_crash(CARELESS, "publish", tmp_path)["wrong"])
    store = open_store(CARELESS, tmp_path / "store")
    store.commit_sweep(sweep_record(), b"text")
    slots = _slots(store, tmp_path / "work", 2)
    assert [slot.publish(run_of(store).step(STEP)) for slot in slots] == [True, True]
