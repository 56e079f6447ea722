"""The stores that the conformance suite is run on, and one that keeps no promise, to show that the suite notices.

A new implementation of `RunStore` adds a line to `STORES`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.storage.attempt_folder import AttemptFolder
from pipeline_queue.storage.run_folder import RunFolder
from pipeline_queue.storage.run_store import RunStore, StoredStep
from pipeline_queue.storage.step_folder import StepFolder
from pipeline_queue.storage.storage import Storage


class _CarelessSlot(AttemptFolder):
    """Publishes by a copy, file by file, and never looks whether somebody was first."""

    def publish(self, target: StoredStep) -> bool:
        assert isinstance(target, StepFolder)
        target.folder.mkdir(exist_ok=True)
        for path in sorted(self.folder.iterdir()):
            if path.is_dir():
                shutil.copytree(path, target.folder / path.name, dirs_exist_ok=True)
            else:
                shutil.copy(path, target.folder / path.name)
        return True


class _CarelessRun(RunFolder):
    def begin_attempt(self, step: str, attempt: int, uid: str) -> AttemptFolder:
        slot = super().begin_attempt(step, attempt, uid)
        return _CarelessSlot(slot.folder, slot.uid, slot.commit)


@dataclass(frozen=True, slots=True)
class CarelessStore(Storage):
    """A store whose publication is no single conditional write."""

    def run(self, run, label, total=1):  # type: ignore[no-untyped-def]
        found = Storage.run(self, run, label, total)
        return _CarelessRun(found.folder, found.commit)


STORES: dict[str, Callable[[Path], RunStore]] = {"file system": Storage.open}
"""Name -> what opens a store at a place of its own."""

CARELESS = "careless"


def open_store(kind: str, place: Path) -> RunStore:
    """A store of one of these kinds."""
    if kind == CARELESS:
        Storage.open(place)
        return CarelessStore(place)
    return STORES[kind](place)
