"""Finds the service of a data folder or starts one, for as long as a command needs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.index.connection import answers
from pipeline_queue.local.folder import DataFolder, ServiceNote

_START_SECONDS = 90.0
_END_SECONDS = 15.0
_INTERVAL_SECONDS = 0.02


@contextmanager
def attached_service(
    folder: DataFolder, slots: int | None = None, say: Callable[[str], None] = lambda _: None
) -> Iterator[ServiceNote]:
    """The service of the folder, started when none runs, which `say` is told; it does not end while the block runs.

    Raises BrokerError when it does not start.
    """
    folder.make()
    with folder.attached():
        yield _ready(folder, slots or len(os.sched_getaffinity(0)), say)


def wait_until_ended(folder: DataFolder, note: ServiceNote) -> None:
    """Waits for a service without unfinished runs to be gone; returns at once when another command needs it."""
    until = time.monotonic() + _END_SECONDS
    needed = 0
    while folder.is_served() and time.monotonic() < until and needed < 5:
        if folder.read_note() == note:
            with folder.without_clients() as alone:
                needed = 0 if alone else needed + 1
        time.sleep(_INTERVAL_SECONDS)


def running_service(folder: DataFolder) -> ServiceNote | None:
    """What the running service says of itself, None when there is none.

    A note may be a killed service's, found while the next one starts: only a server that answers counts.
    """
    note = folder.read_note() if folder.root.is_dir() and folder.is_served() else None
    return note if note and answers(note.broker_url) else None


def _ready(folder: DataFolder, slots: int, say: Callable[[str], None]) -> ServiceNote:
    until = time.monotonic() + _START_SECONDS
    process: subprocess.Popen[bytes] | None = None
    begun_bytes = folder.log_bytes("service")
    while time.monotonic() < until:
        note = running_service(folder)
        if note:
            return note
        if not folder.is_served() and (process is None or process.poll() is not None):
            if process is not None and process.returncode != 0:
                break
            say(f"starting a server and a worker in {folder.root}")
            process = _start(folder, slots)
        time.sleep(_INTERVAL_SECONDS)
    raise BrokerError(f"the embedded service did not start{folder.read_error('service', begun_bytes)}")


def _start(folder: DataFolder, slots: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "pipeline_queue.local.service"]
    with folder.open_log("service") as log:
        return subprocess.Popen(
            [*command, str(folder.root), str(folder.storage), str(slots)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.root,
            start_new_session=True,
        )
