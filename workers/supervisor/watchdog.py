"""A process that only waits for worker and supervisor to be killed in the same moment, and then ends their steps.

Of each two of them the other one acts: the supervisor for a dead worker, the worker for a dead supervisor. But
`killall -9 python3` and `pkill -9 -f workers` take both, and a step would run on beside its own repetition elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import NoReturn

from workers.supervisor.process_tag import read_process_tag
from workers.supervisor.process_tree import read_status, send_signal
from workers.warm.fork_safety import close_all_but
from workers.warm.proc_title import ProcessArea, initial_environment

# Not with a word of the commands beside it, by which somebody may kill them all.
COMMAND = b"pq-guard: ends steps that nobody else can"
_NAME = b"pq-guard"
_MIN_SECONDS, _MAX_SECONDS = 0.002, 0.5


def start_watchdog(worker: int, tag: int) -> int | None:
    """Its pid: forked from the supervisor, in its session; `worker` is a pidfd, `mark` what the steps carry.

    Where no process can be had for it, all is as without one.
    """
    with contextlib.suppress(OSError):
        supervisor = os.pidfd_open(os.getpid())
        try:
            watchdog = os.fork()
            if watchdog == 0:
                _watchdog(worker, supervisor, tag)
            return watchdog
        finally:
            os.close(supervisor)
    return None


def _watchdog(worker: int, supervisor: int, tag: int) -> NoReturn:
    try:
        _become_small(worker, supervisor)
        _wait_for_the_end_of(worker)
        _wait_for_the_end_of(supervisor)
        _end_all(tag)
    finally:
        os._exit(0)


def _become_small(*kept: int) -> None:
    """A process of its own name, which holds nothing open that somebody waits for the end of."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    close_all_but(kept)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_bytes(_NAME)
        ProcessArea.of_this_process().write([COMMAND], initial_environment())


def _wait_for_the_end_of(process: int) -> None:
    poller = select.poll()
    poller.register(process, select.POLLIN)
    while not poller.poll():
        pass


def _end_all(tag: int) -> None:
    """Until nothing with the mark lives, however fast it forks."""
    pause = _MIN_SECONDS
    while living := _living(tag):
        for pid, start_ticks in living:
            send_signal(pid, start_ticks, signal.SIGKILL)
        time.sleep(pause)
        pause = min(2 * pause, _MAX_SECONDS)


def _living(tag: int) -> list[tuple[int, int]]:
    """Pid and start of everything that carries the mark but this process."""
    found = []
    for pid in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]:
        # First who it is: of a pid that another process gets meanwhile, nothing is signalled.
        status = read_status(pid)
        if status is None or pid == os.getpid() or read_process_tag(pid) != tag:
            continue
        if not status.is_zombie or _has_other_threads(pid):
            found.append((pid, status.start_ticks))
    return found


def _has_other_threads(pid: int) -> bool:
    """Of a process whose first thread has ended, which looks like a zombie, others may go on."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1  # noqa: PTH208
    except OSError:
        return False
