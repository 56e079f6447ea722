"""Opens the storage that belongs to a broker, so that an unmounted folder is not mistaken for a new storage."""

from __future__ import annotations

from pathlib import Path

from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.storage.storage import Storage


def open_storage(root: Path, run_index: RunIndex) -> Storage:
    """The storage at `root`, created if it is missing and the broker has none yet.

    Raises BrokerError, and StorageError when the broker belongs to another storage.
    """
    storage = Storage.open(root, expected=run_index.server.storage_token())
    storage.check(run_index.server.agree_on_storage(storage.token()))
    return storage
