"""The record of what people did to sweeps through the dashboard: a line each, in one file a month."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline_queue.contract.records import ActionRecord
from pipeline_queue.storage.access import inherit_access, make_folder
from pipeline_queue.storage.files import names_in, read_bytes
from pipeline_queue.storage.layout import ACTIONS
from pipeline_queue.storage.patience import repeat_until_done

_MAX_READ_FILES = 24
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def append_action(root: Path, record: ActionRecord) -> None:
    """Adds the line by one write, so that lines of several writers stay whole. Raises OSError."""
    folder = root / ACTIONS
    make_folder(folder, exist_ok=True)
    path = folder / time.strftime("%Y-%m.jsonl", time.gmtime(record.at))
    is_new = not path.exists()
    descriptor = repeat_until_done(lambda: os.open(path, _FLAGS, 0o644))
    try:
        os.write(descriptor, record.model_dump_json().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        inherit_access(path)


def read_actions(root: Path, sweep: str) -> list[ActionRecord]:
    """The actions on the sweep, oldest first, of the last two years. Leaves out damaged lines. Raises OSError."""
    folder = root / ACTIONS
    names = sorted(name for name in names_in(folder) if name.endswith(".jsonl"))[-_MAX_READ_FILES:]
    return [record for name in names for record in _records(folder / name, sweep)]


def _records(path: Path, sweep: str) -> Iterator[ActionRecord]:
    for line in (read_bytes(path) or b"").splitlines():
        if sweep.encode() in line:
            try:
                record = ActionRecord.model_validate_json(line)
            except ValueError:
                continue
            if record.sweep == sweep:
                yield record
