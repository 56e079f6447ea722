"""Kills a process between any two operations of what it does with a store, then looks, and does it all again.

    python -m tests.integration.store_crashes KIND WORK FOLDER

prints, as JSON, how many places it was killed at and what was wrong after which. Each place has a store of its own. The
process is forked from this one, which has no threads, and kills itself as the interpreter announces the operation
(`sys.addaudithook`): before it happens.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline_queue.contract.errors import NotFoundError
from pipeline_queue.storage.run_store import RunStore
from tests.integration.store_kinds import open_store
from tests.integration.store_site import (
    SWEEP,
    end_record,
    filled_slot,
    new_folder,
    published_uid,
    run_of,
    sweep_record,
    uid_of,
)
from tests.limits import signal_process

_OPERATIONS = ("open", "os.", "shutil.", "socket.")
"""Beginnings of the names of audit events that may change a store, or ask it something."""


def commit(store: RunStore, folder: Path, attempt: int) -> None:
    assert store.commit_sweep(sweep_record(), b"text", may_exist=True) or store.has_sweep(SWEEP)


def publish(store: RunStore, folder: Path, attempt: int) -> None:
    """As a worker: the next attempt fences off the one before."""
    run = run_of(store)
    if attempt > 1:
        run.fence_off("one", attempt - 1)
    if run.step("one").record() is None:
        filled_slot(store, attempt, new_folder(folder)).publish(run.step("one"))
    run.write_end(end_record())


def share(store: RunStore, folder: Path, attempt: int) -> None:
    """Of a step that several runs have in common."""
    shared = store.shared_step(SWEEP, "one-abc")
    if not shared.is_published():
        filled_slot(store, attempt, new_folder(folder)).publish(shared)
    run_of(store).link("one", shared)
    run_of(store).write_end(end_record())


def retry(store: RunStore, folder: Path, attempt: int) -> None:
    """A run that has ended is made to go on, and ends again."""
    store.reopen_sweep(SWEEP)
    store.choose_retry(SWEEP, [0])
    run_of(store).reopen()
    run_of(store).write_end(end_record("again"))


def delete(store: RunStore, folder: Path, attempt: int) -> None:
    if store.has_sweep(SWEEP):
        store.delete_sweep(sweep_record())


def _before_none(store: RunStore, folder: Path) -> None:
    pass


def _before_sweep(store: RunStore, folder: Path) -> None:
    commit(store, folder, 0)


def _before_ended(store: RunStore, folder: Path) -> None:
    commit(store, folder, 0)
    publish(store, folder, 1)


def _look_at_sweep(store: RunStore, folder: Path, is_done: bool) -> None:
    try:
        assert store.read_sweep(SWEEP) == sweep_record()
    except NotFoundError:
        assert not is_done, "the sweep is not there"


def _look_at_run(store: RunStore, folder: Path, is_done: bool) -> None:
    uid = published_uid(store, new_folder(folder) / "seen")
    end = run_of(store).end()
    assert end is None or end == end_record(), f"the end is {end}"
    assert uid is not None or end is None, "the run ended without its step"
    assert not is_done or (uid is not None and end is not None), "the run is not done"


def _look_at_retry(store: RunStore, folder: Path, is_done: bool) -> None:
    end = run_of(store).end()
    former = run_of(store).former_end(run_of(store).names())
    assert end or former, "how the run ended is lost"
    assert published_uid(store, new_folder(folder) / "seen") == uid_of(1)
    assert not is_done or end == end_record("again")


def _look_at_nothing(store: RunStore, folder: Path, is_done: bool) -> None:
    if store.has_sweep(SWEEP):
        assert not is_done, "the sweep is still there"
        assert published_uid(store, new_folder(folder) / "seen") == uid_of(1)


_Look = Callable[[RunStore, Path, bool], None]
_Work = Callable[[RunStore, Path, int], None]
WORKS: dict[str, tuple[Callable[[RunStore, Path], None], _Work, _Look]] = {
    "commit": (_before_none, commit, _look_at_sweep),
    "publish": (_before_sweep, publish, _look_at_run),
    "share": (_before_sweep, share, _look_at_run),
    "retry": (_before_ended, retry, _look_at_retry),
    "delete": (_before_ended, delete, _look_at_nothing),
}
"""Name -> what is there before, what is done and repeated, what must hold after a kill and at the end."""


def _killed_at(number: int, work: Callable[[], None]) -> bool:
    """Does the work in a child that is killed at the operation of that number; whether it got so far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, _: tuple[Any, ...]) -> None:
            nonlocal seen
            if event.startswith(_OPERATIONS):
                seen += 1
                if seen == number:
                    signal_process(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.addaudithook(count)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0, f"the work failed by itself before operation {number}"
    return False


def crash_everywhere(kind: str, name: str, above: Path) -> tuple[int, list[str]]:
    """At how many places the work was killed, and what was wrong."""
    prepare, work, look = WORKS[name]
    number, wrong = 0, []
    while True:
        number += 1
        folder = above / str(number)
        store = open_store(kind, folder / "store")
        prepare(store, folder)
        was_killed = _killed_at(number, lambda store=store, folder=folder: work(store, folder, 2))  # type: ignore[misc]
        try:
            look(store, folder, not was_killed)
            work(store, folder, 3)
            look(store, folder, True)
        except (AssertionError, OSError) as error:
            wrong.append(f"killed at operation {number}: {type(error).__name__}: {error}")
        if not was_killed:
            return number - 1, wrong


def main() -> None:
    kind, name, above = sys.argv[1:]
    places, wrong = crash_everywhere(kind, name, Path(above))
    print(json.dumps({"places": places, "wrong": wrong}))


if __name__ == "__main__":
    main()
