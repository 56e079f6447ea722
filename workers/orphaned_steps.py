"""Kills what a dead supervisor left to its worker: step processes that are now the worker's own children."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection

from workers.supervisor.process_tag import read_process_tag
from workers.supervisor.process_tree import children_of, descendants, read_marker, read_status, reap, send_signal
from workers.supervisor.protocol import ATTEMPT_MARKER

_PAUSE_SECONDS = 0.005


def kill_orphans(
    ids: Collection[str], steps: Collection[int], supervisor: int, tag: int, give_up_seconds: float
) -> int:
    """Kill these executions' trees and collect the dead; how many processes could not be ended in time.

    Only processes are touched that carry the marker of one of `ids` or the `mark` of `supervisor`, are in its session
    or that of one of `steps`, or descend from such a one: the worker may have children of its own.
    """
    sessions = {supervisor, *steps}
    give_up_at = time.monotonic() + give_up_seconds
    seen: dict[int, int] = {}
    while orphans := [pid for pid in children_of(os.getpid()) if _is_orphan(pid, ids, sessions, tag, seen)]:
        found = [(pid, status) for pid in descendants(orphans) if (status := read_status(pid)) is not None]
        # The watchdog, in the supervisor's session, comes last: it takes over should this worker be killed now.
        for pid, status in sorted(found, key=lambda one: one[1].session == supervisor):
            seen[pid] = status.start_ticks
            send_signal(pid, status.start_ticks, signal.SIGKILL)
        left = [pid for pid in orphans if not reap(pid)]
        if left:
            if time.monotonic() > give_up_at:
                return len(left)
            time.sleep(_PAUSE_SECONDS)
    return 0


def _is_orphan(pid: int, ids: Collection[str], sessions: Collection[int], tag: int, seen: dict[int, int]) -> bool:
    status = read_status(pid)
    if status is None:
        return False
    if status.session in sessions or seen.get(pid) == status.start_ticks or read_process_tag(pid) == tag:
        return True
    return read_marker(pid, ATTEMPT_MARKER) in ids
