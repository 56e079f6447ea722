"""Runs steps for the threads of a worker, through its supervisor, and outlives the supervisor's death."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from pipeline_queue.contract.errors import SupervisorError
from workers.supervisor.process_tree import become_subreaper
from workers.supervisor.protocol import ATTEMPT_MARKER, Cause, lease_clock
from workers.supervisor_link import SupervisorLink

logger = logging.getLogger(__name__)

_MAX_NOTES = 20


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """One step to run. `id` is unique for ever; `env` is its whole environment, to which the marker is added.

    With `lease_seconds` the step is killed once `leased_at + lease_seconds` has passed without a renewal;
    `leased_at` is a reading of `lease_clock()` from before the lease was asked for (None: from now). Its whole tree may
    hold `memory_bytes` (None: no limit).
    With `preload` the step is forked from a process that has imported these modules, and `argv` is an interpreter and
    a script; the variables of `env` that `late` names need not be known to that process.
    """

    id: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    log: str
    log_limit_bytes: int
    timeout_seconds: float | None = None
    grace_seconds: float = 10.0
    lease_seconds: float | None = None
    leased_at: float | None = None
    preload: tuple[str, ...] = ()
    late: frozenset[str] = frozenset()
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """How an execution ended; nothing of its process tree lives any more.

    `exit_code` or `signal` is what the main process itself ended with, whatever the cause. `error` is a
    sentence for the user when the step was not started; `infrastructure`: the machine was the reason. `memory_bytes` is
    the most that its tree was seen to hold, None when it has no limit.
    """

    id: str
    cause: Cause
    reason: str | None
    exit_code: int | None
    signal: int | None
    error: str | None
    infrastructure: bool
    seconds: float
    max_rss_bytes: int
    memory_bytes: int | None
    log_bytes: int
    log_dropped_bytes: int
    notes: tuple[str, ...] = ()


_RESULT_FIELDS = tuple(field.name for field in fields(ExecutionResult))
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

    def run(self, request: ExecutionRequest) -> ExecutionResult:
        """Wait for the end of this step; raises SupervisorError when supervisor and step died."""
        order = _start_fields(request)
        inbox: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        with self._lock:
            link = self._ensure_link()
            if request.id in self._waiting:
                raise ValueError(f"execution {request.id!r} is already running")
            self._waiting[request.id] = _Waiting(link, inbox)
        link.start(request.id, order)
        answer = inbox.get()
        if isinstance(answer, SupervisorError):
            raise answer
        return answer

    def renew(self, ids: Iterable[str], lease_seconds: float, leased_at: float | None = None) -> None:
        """The leases of these executions now hold until `leased_at + lease_seconds` of `lease_clock()`."""
        moment = lease_clock() if leased_at is None else leased_at
        self._send("renew", {"ids": list(ids), "lease_seconds": lease_seconds, "leased_at": moment})

    def stop(self, id: str, reason: str) -> None:
        """End one execution: TERM to its tree, KILL after its grace. Nothing happens if it has ended."""
        self._send("stop", {"id": id, "reason": reason})

    def kill(self, id: str, reason: str) -> None:
        """End one execution at once."""
        self._send("kill", {"id": id, "reason": reason})

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

    def _send(self, kind: str, frame: Mapping[str, object]) -> None:
        with self._lock:
            link = self._link
        if link is not None:
            link.send(kind, frame)

    def _ensure_link(self) -> SupervisorLink:
        if self._is_closed:
            raise SupervisorError("the worker is closing; no step is started any more")
        if self._link is not None:
            return self._link
        try:
            become_subreaper()
            self._link = SupervisorLink(self._handle_frame, self._report_lost)
        except OSError as error:
            raise SupervisorError(f"the supervisor cannot be started: {error}") from error
        return self._link

    def _handle_frame(self, _link: SupervisorLink, frame: dict[str, object]) -> None:
        if frame.get("type") != "ended":
            return
        warm = frame.get("warm")
        with self._lock:
            if isinstance(warm, dict):
                self._warm_facts = warm
            waiting = self._waiting.pop(str(frame.get("id")), None)
        if waiting is not None:
            result = _read_result(frame)
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


def _start_fields(request: ExecutionRequest) -> dict[str, object]:
    leased_at = request.leased_at
    if request.lease_seconds is not None and leased_at is None:
        leased_at = lease_clock()
    return {
        "argv": request.argv,
        "cwd": request.cwd,
        "env": {**request.env, ATTEMPT_MARKER: request.id},
        "log": request.log,
        "log_limit_bytes": request.log_limit_bytes,
        "timeout_seconds": request.timeout_seconds,
        "memory_bytes": request.memory_bytes,
        "grace_seconds": request.grace_seconds,
        "lease_seconds": request.lease_seconds,
        "leased_at": leased_at,
        **({"preload": request.preload, "late": sorted(request.late)} if request.preload else {}),
    }


def _read_result(frame: dict[str, object]) -> ExecutionResult:
    values = {name: frame.get(name) for name in _RESULT_FIELDS}
    values["notes"] = tuple(map(str, frame.get("notes") or ()))  # type: ignore[call-overload]
    values["cause"] = Cause(str(frame["cause"]))
    return ExecutionResult(**values)  # type: ignore[arg-type]
