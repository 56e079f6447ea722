"""The supervisor's other children: processes of a step whose own parent has left them."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from dataclasses import dataclass

from workers.supervisor.process_tree import (
    children_of,
    may_signal,
    open_outputs,
    read_marker,
    read_status,
    reap,
    send_signal,
)
from workers.supervisor.protocol import ATTEMPT_MARKER
from workers.supervisor.supervised_step import SupervisedStep

_ROUNDS = 20


@dataclass(slots=True)
class _Orphan:
    """The ids of the executions it may come from: one when that is known."""

    suspects: set[str]


class Orphans:
    """Which orphan belongs to which execution.

    An orphan is known by its session, its environment marker, the step's output pipe, or by having been seen
    in the tree before. One that hides all four belongs to whichever of the executions active when it was
    first seen ends last.
    """

    def __init__(self, warm: Collection[int] = ()) -> None:
        """`warm` are children of ours that belong to no execution."""
        self._known: dict[int, _Orphan] = {}
        self._warm = warm
        self._session = os.getsid(0)

    def refresh(self, steps: Collection[SupervisedStep]) -> bool:
        """Adopt new orphans and collect dead ones; False when they come and go too fast to know them all.

        True is exact for the main processes whose exit was noticed before: their children are ours by then.
        """
        mains = {step.pid for step in steps} | set(self._warm)
        for _ in range(_ROUNDS):
            # One that was dead may have left a child that was not in the list yet.
            if not any([self._adopt(pid, steps) for pid in children_of(os.getpid()) if pid not in mains]):
                return True
        return False

    def of(self, step_id: str) -> list[int]:
        """Those that belong to this execution and can be ended by us."""
        if not self._known:
            return []
        return [pid for pid, orphan in self._known.items() if orphan.suspects == {step_id} and may_signal(pid)]

    def is_outlived(self, step_id: str) -> bool:
        """Whether a process lives that is, or may be, this execution's: one that hides, or that we may not end."""
        return any(step_id in orphan.suspects for orphan in self._known.values())

    def release(self, step_id: str) -> None:
        """This execution has ended; what it left, if anything, is not its own."""
        for orphan in self._known.values():
            orphan.suspects.discard(step_id)

    def _adopt(self, pid: int, steps: Collection[SupervisedStep]) -> bool:
        """True when this one was dead and has been collected."""
        if reap(pid):
            self._known.pop(pid, None)
            return True
        if pid not in self._known and (status := read_status(pid)) is not None:
            if status.session == self._session:
                return False  # forked from a warm process a moment ago: not a step yet, or about to end
            owner = _owner(pid, status.session, status.start_ticks, steps)
            suspects = {owner} if owner is not None else {step.id for step in steps}
            self._known[pid] = _Orphan(suspects)
            if not suspects:
                send_signal(pid, status.start_ticks, signal.SIGKILL)
        return False


def _owner(pid: int, session: int, start_ticks: int, steps: Collection[SupervisedStep]) -> str | None:
    marker = read_marker(pid, ATTEMPT_MARKER)
    for step in steps:
        if session == step.pid or marker == step.id or step.members.get(pid) == start_ticks:
            return step.id
    outputs = open_outputs(pid)
    return next((step.id for step in steps if step.output_name() in outputs), None)
