"""The frames between a worker and its supervisor: a wire format, version 1.

One JSON object a line (UTF-8, `\\n`), each with `"v": 1` and `"type"`. Text that came from undecodable bytes
keeps them as lone surrogates (`surrogateescape`). An unknown version or type is complained of and ignored.

Worker to supervisor:

    start   id, argv, cwd, env, log, log_limit_bytes, timeout_seconds|null, grace_seconds,
            lease_seconds|null, leased_at|null, memory_bytes|null,
            preload, late
            Run one step. With `preload` (names of modules; `argv` is then an interpreter and a script) it is forked
            from a warm process that has imported them; `late` names the variables of `env` that may differ between
            steps of one warm process. `env` is all of its environment and should hold PIPELINE_QUEUE_ATTEMPT=<id>.
    renew   ids, lease_seconds, leased_at
            The lease of these executions holds until `leased_at + lease_seconds`.
    stop    id, reason     TERM to the tree, `grace_seconds` later KILL.
    kill    id, reason     KILL to the tree at once.

Supervisor to worker:

    started id, pid        The main process runs; `pid` is also its session and process group. Sent with the next
                           `ended` frame, at the latest 20 ms after the start.
    ended   id, cause, reason|null, exit_code|null, signal|null, error|null, infrastructure, seconds,
            max_rss_bytes, memory_bytes|null, log_bytes, log_dropped_bytes,
            for one that was not started log_errno|null (why its log could not be opened),
            if it may be so is_outlived (true: a process of it may still live, which hides or cannot be ended),
            if there is any log_left (base64: what could not be written to the log yet, and belongs at its end),
            and for one with `preload` notes, warm
            Nothing of the tree that could be ended lives any more and the log is complete. Sent once for every
            `start`. `notes` are sentences; `warm` counts: processes, forked, cold, shared_bytes.

`leased_at` is a reading of `lease_clock()`, taken before the lease was asked for: a frame that lies in a
socket while either side is paused must not prolong a lease that others already see as expired.
`memory_bytes` of `start` is what the whole tree may hold, of `ended` the most that was seen, when there is a limit.
Cause `memory` says that it was over it, `out_of_memory` that the system killed it for its own lack.
`max_rss_bytes` is never below the supervisor's own few megabytes (a kernel property of vfork).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

VERSION = 1
ATTEMPT_MARKER = "PIPELINE_QUEUE_ATTEMPT"
# Far beyond any size or time, yet exact as a float, and refusing infinities and NaN.
_MAX_NUMBER = 2**53


class Cause(StrEnum):
    """Why an execution ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUT_OF_MEMORY = "out_of_memory"
    STOPPED = "stopped"
    LEASE_LOST = "lease_lost"
    NOT_STARTED = "not_started"


class MalformedStartError(ValueError):
    """A `start` frame that names its execution `id`, but is wrong otherwise."""

    def __init__(self, text: str, id: str) -> None:
        super().__init__(text)
        self.id = id


@dataclass(frozen=True, slots=True)
class StartOrder:
    """One step to run: the `start` frame. `id` is unique for ever; `env` is its whole environment.

    With `lease_seconds` the step is killed once `leased_at + lease_seconds` has passed without a renewal;
    `leased_at` is a reading of `lease_clock()` from before the lease was asked for. Its whole tree may
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
    leased_at: float = field(default_factory=lambda: lease_clock())
    preload: tuple[str, ...] = ()
    late: frozenset[str] = frozenset()
    memory_bytes: int | None = None

    @property
    def lease_until(self) -> float | None:
        """On `lease_clock()`; None when it needs no lease."""
        return None if self.lease_seconds is None else self.leased_at + self.lease_seconds

    def encode(self) -> bytes:
        """With the marker in `env` by which /proc tells whose process the step's are."""
        values: dict[str, object] = {name: getattr(self, name) for name in _START_FIELDS}
        values["env"] = {**self.env, ATTEMPT_MARKER: self.id}
        values["late"] = sorted(self.late)
        if not self.preload:
            del values["preload"], values["late"]
        return encode_frame("start", values)

    @classmethod
    def read(cls, frame: Mapping[str, object]) -> StartOrder:
        """Raises ValueError naming the field that is wrong."""
        memory, lease_seconds = _optional_number(frame, "memory_bytes"), _optional_number(frame, "lease_seconds")
        argv, env = frame.get("argv"), frame.get("env")
        if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
            raise ValueError("argv is not a list of texts")
        if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
            raise ValueError("env is not a mapping of texts")
        return cls(
            id=_text(frame, "id"),
            argv=tuple(argv),
            cwd=_text(frame, "cwd"),
            env=env,
            log=_text(frame, "log"),
            log_limit_bytes=int(_number(frame, "log_limit_bytes")),
            timeout_seconds=_optional_number(frame, "timeout_seconds"),
            grace_seconds=_number(frame, "grace_seconds"),
            lease_seconds=lease_seconds,
            leased_at=0.0 if lease_seconds is None else _number(frame, "leased_at"),
            preload=_optional_texts(frame, "preload"),
            late=frozenset(_optional_texts(frame, "late")),
            memory_bytes=None if memory is None else int(memory),
        )


@dataclass(frozen=True, slots=True)
class Renewal:
    """The leases of these executions now hold until `leased_at + lease_seconds`: the `renew` frame."""

    ids: tuple[str, ...]
    lease_seconds: float
    leased_at: float

    @property
    def lease_until(self) -> float:
        return self.leased_at + self.lease_seconds

    def encode(self) -> bytes:
        return encode_frame("renew", asdict(self))

    @classmethod
    def read(cls, frame: Mapping[str, object]) -> Renewal:
        """Raises ValueError naming the field that is wrong."""
        ids = frame.get("ids")
        if not isinstance(ids, list):
            raise ValueError("ids is not a list")
        return cls(tuple(map(str, ids)), _number(frame, "lease_seconds"), _number(frame, "leased_at"))


@dataclass(frozen=True, slots=True)
class StopOrder:
    """End one execution: the `stop` frame, or `kill` when it is to end at once."""

    id: str
    reason: str
    at_once: bool

    def encode(self) -> bytes:
        return encode_frame("kill" if self.at_once else "stop", {"id": self.id, "reason": self.reason})


Order = StartOrder | Renewal | StopOrder


@dataclass(frozen=True, slots=True)
class Started:
    """The main process of an execution runs: the `started` frame."""

    id: str
    pid: int

    def encode(self) -> bytes:
        return encode_frame("started", asdict(self))


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """How an execution ended; nothing of its process tree lives any more: the `ended` frame.

    `exit_code` or `signal` is what the main process itself ended with, whatever the cause. `error` is a
    sentence for the user when the step was not started; `infrastructure`: the machine was the reason. `memory_bytes` is
    the most that its tree was seen to hold, None when it has no limit. `notes` and `warm` come with one with `preload`.
    `log_errno`: why the log could not be opened, when the step was not started for that; `log_left`: in base64, what
    could not be written to the log yet and belongs at its end. `is_outlived`: a process of its tree may still live: one
    that hides among those of other executions, or that the supervisor may not end.
    """

    id: str
    cause: Cause
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    infrastructure: bool = False
    seconds: float = 0.0
    max_rss_bytes: int = 0
    memory_bytes: int | None = None
    log_bytes: int = 0
    log_dropped_bytes: int = 0
    notes: tuple[str, ...] = ()
    warm: Mapping[str, int] | None = None
    log_errno: int | None = None
    log_left: str = ""
    is_outlived: bool = False

    def encode(self) -> bytes:
        values = {name: getattr(self, name) for name in _RESULT_FIELDS}
        if self.warm is None:
            del values["notes"], values["warm"]
        for name in ("log_errno", "log_left", "is_outlived"):
            if not values[name]:
                del values[name]
        return encode_frame("ended", values)

    @classmethod
    def read(cls, frame: Mapping[str, Any]) -> ExecutionResult:
        """What a supervisor of ours has sent; `Cause` raises ValueError for one of another version."""
        values = {name: frame[name] for name in _RESULT_FIELDS if name in frame}
        values["notes"] = tuple(map(str, frame.get("notes") or ()))
        values["cause"] = Cause(str(frame["cause"]))
        return cls(**values)


_RESULT_FIELDS = tuple(one.name for one in fields(ExecutionResult))
_START_FIELDS = tuple(one.name for one in fields(StartOrder))


def lease_clock() -> float:
    """Seconds on a clock that also runs while this machine is suspended, as the server's clock does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def decode_order(line: bytes) -> Order:
    """What a worker sent. Raises ValueError for what is no order of this version; MalformedStartError for a start of
    which at least the id can be read."""
    frame = decode_frame(line)
    match frame.get("type"):
        case "start":
            id = _text(frame, "id")
            try:
                return StartOrder.read(frame)
            except ValueError as error:
                raise MalformedStartError(str(error), id) from error
        case "renew":
            return Renewal.read(frame)
        case "stop" | "kill" as kind:
            return StopOrder(_text(frame, "id"), _text(frame, "reason"), kind == "kill")
        case kind:
            raise ValueError(f"unknown type {kind!r}")


def read_orders(lines: Iterable[bytes | bytearray]) -> list[Order | ValueError]:
    """The order of each line, or why it cannot be read."""
    orders: list[Order | ValueError] = []
    for line in lines:
        try:
            orders.append(decode_order(bytes(line)))
        except ValueError as error:
            orders.append(error)
    return orders


def decode_report(line: bytes) -> Started | ExecutionResult | None:
    """What a supervisor sent; None for what a worker of this version need not know. Raises ValueError."""
    frame = decode_frame(line)
    match frame.get("type"):
        case "started":
            return Started(_text(frame, "id"), int(_number(frame, "pid")))
        case "ended":
            return ExecutionResult.read(frame)
    return None


def encode_frame(kind: str, fields: Mapping[str, object]) -> bytes:
    return json.dumps({"v": VERSION, "type": kind, **fields}, separators=(",", ":")).encode() + b"\n"


def decode_frame(line: bytes) -> dict[str, object]:
    """The frame of one line; raises ValueError when it is not a frame of this version."""
    try:
        frame = json.loads(line.decode())  # bytes would first be searched for their encoding
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(frame, dict):
        raise ValueError("not a JSON object")
    if frame.get("v") != VERSION:
        raise ValueError(f"version {frame.get('v')!r}, expected {VERSION}")
    return frame


def _text(frame: Mapping[str, object], name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    return value


def _number(frame: Mapping[str, object], name: str) -> float:
    value = frame.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
    if not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise ValueError(f"{name} is out of range")
    return value


def _optional_texts(frame: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = frame.get(name, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"{name} is not a list of texts")
    return tuple(value)


def _optional_number(frame: Mapping[str, object], name: str) -> float | None:
    return None if frame.get(name) is None else _number(frame, name)
