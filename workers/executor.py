"""Runs steps for the threads of a worker, through its supervisor, and outlives the supervisor's death."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline_queue.contract.errors import SupervisorError
from workers.supervisor.process_tree import become_subreaper
from workers.supervisor.protocol import ExecutionResult, Order, Renewal, StartOrder, StopOrder, lease_clock
from workers.supervisor_link import SupervisorLink

logger = logging.getLogger(__name__)

_MAX_NOTES = 20


_Answer = ExecutionResult | SupervisorError


@dataclass(frozen=True, slots=True)
class _Waiting:
    link: SupervisorLink
    inbox: queue.SimpleQueue[_Answer]


class Executor:
    """A worker's way to run steps; every method may be called from any thread.

    It makes this process a subreaper, to be able to end what a supervisor that was killed leaves behind.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link: SupervisorLink | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._is_closed = False
        self._warm_facts: Mapping[str, int] = {}
        self._cold_notes: dict[str, None] = {}

    def start(self) -> None:
        """Start the supervisor; `run` does so by itself when there is none. Raises SupervisorError."""
        with self._lock:
            self._ensure_link()

    def run(self, order: StartOrder) -> ExecutionResult:
        """Wait for the end of this step; raises SupervisorError when supervisor and step died."""
        inbox: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        with self._lock:
            link = self._ensure_link()
            if order.id in self._waiting:
                raise ValueError(f"execution {order.id!r} is already running")
            self._waiting[order.id] = _Waiting(link, inbox)
        link.start(order)
        answer = inbox.get()
        if isinstance(answer, SupervisorError):
            raise answer
        return answer

    def renew(self, ids: Iterable[str], lease_seconds: float, leased_at: float | None = None) -> None:
        """The leases of these executions now hold until `leased_at + lease_seconds` of `lease_clock()`."""
        moment = lease_clock() if leased_at is None else leased_at
        self._send(Renewal(tuple(ids), lease_seconds, moment))

    def stop(self, id: str, reason: str) -> None:
        """End one execution: TERM to its tree, KILL after its grace. Nothing happens if it has ended."""
        self._send(StopOrder(id, reason, at_once=False))

    def kill(self, id: str, reason: str) -> None:
        """End one execution at once."""
        self._send(StopOrder(id, reason, at_once=True))

    def end_all(self, reason: str) -> None:
        """Start nothing any more, and end every execution: TERM to its tree, KILL after its grace."""
        with self._lock:
            self._is_closed = True
            ids = list(self._waiting)
        for id in ids:
            self.stop(id, reason)

    def close(self) -> None:
        """End the supervisor and everything it runs; a `run` that still waits raises SupervisorError."""
        with self._lock:
            self._is_closed = True
            link = self._link
        if link is not None:
            link.close()

    def is_closing(self) -> bool:
        """Whether this worker is stopping: steps that end now were ended by it, not lost."""
        return self._is_closed

    def supervisor_pid(self) -> int | None:
        with self._lock:
            return None if self._link is None else self._link.pid

    def warm_facts(self) -> Mapping[str, int]:
        """Of warm Python, as of the last step that asked for it: processes, forked, cold, shared_bytes."""
        return self._warm_facts

    def cold_notes(self) -> list[str]:
        """Why steps that should have been forked were started cold; each was logged when it came first."""
        with self._lock:
            return list(self._cold_notes)

    def _note_cold(self, notes: Iterable[str]) -> None:
        for note in notes:
            with self._lock:
                is_new = note not in self._cold_notes and len(self._cold_notes) < _MAX_NOTES
                if is_new:
                    self._cold_notes[note] = None
            if is_new:
                logger.warning("warm Python: a step was %s", note)

    def _send(self, order: Order) -> None:
        with self._lock:
            link = self._link
        if link is not None:
            link.send(order)

    def _ensure_link(self) -> SupervisorLink:
        if self._is_closed:
            raise SupervisorError("the worker is closing; no step is started any more")
        if self._link is not None:
            return self._link
        try:
            become_subreaper()
            self._link = SupervisorLink(self._hand_out, self._report_lost)
        except OSError as error:
            raise SupervisorError(f"the supervisor cannot be started: {error}") from error
        return self._link

    def _hand_out(self, result: ExecutionResult) -> None:
        with self._lock:
            if result.warm is not None:
                self._warm_facts = result.warm
            waiting = self._waiting.pop(result.id, None)
        if waiting is not None:
            self._note_cold(result.notes)
            waiting.inbox.put(result)

    def _report_lost(self, link: SupervisorLink, text: str) -> None:
        """The supervisor of this link is dead, and its steps are."""
        with self._lock:
            if self._link is link:
                self._link = None
                self._warm_facts = {}
            lost = [id for id, waiting in self._waiting.items() if waiting.link is link]
            inboxes = [self._waiting.pop(id).inbox for id in lost]
        for inbox in inboxes:
            inbox.put(SupervisorError(text))
