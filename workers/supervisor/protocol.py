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

    started id, pid        The main process runs; `pid` is also its session and process group.
    ended   id, cause, reason|null, exit_code|null, signal|null, error|null, infrastructure, seconds,
            max_rss_bytes, memory_bytes|null, log_bytes, log_dropped_bytes,
            and for one with `preload` notes, warm
            Nothing of the tree lives any more and the log is complete. Sent once for every `start`. `notes` are
            sentences; `warm` counts: processes, forked, cold, shared_bytes.

`leased_at` is a reading of `lease_clock()`, taken before the lease was asked for: a frame that lies in a
socket while either side is paused must not prolong a lease that others already see as expired.
`memory_bytes` of `start` is what the whole tree may hold, of `ended` the most that was seen, when there is a limit.
Cause `memory` says that it was over it, `out_of_memory` that the system killed it for its own lack.
`max_rss_bytes` is never below the supervisor's own few megabytes (a kernel property of vfork).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class StartOrder:
    """A checked `start` frame."""

    id: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    log: str
    log_limit_bytes: int
    timeout_seconds: float | None
    grace_seconds: float
    lease_until: float | None
    memory_bytes: int | None
    preload: tuple[str, ...] = ()
    late: frozenset[str] = frozenset()


def lease_clock() -> float:
    """Seconds on a clock that also runs while this machine is suspended, as the server's clock does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def encode_frame(kind: str, fields: Mapping[str, object]) -> bytes:
    return json.dumps({"v": VERSION, "type": kind, **fields}, separators=(",", ":")).encode() + b"\n"


def decode_frame(line: bytes) -> dict[str, object]:
    """The frame of one line; raises ValueError when it is not a frame of this version."""
    try:
        frame = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(frame, dict):
        raise ValueError("not a JSON object")
    if frame.get("v") != VERSION:
        raise ValueError(f"version {frame.get('v')!r}, expected {VERSION}")
    return frame


def read_start(frame: Mapping[str, object]) -> StartOrder:
    """The order in a `start` frame; raises ValueError naming the field that is wrong."""
    lease_seconds, memory = _optional_number(frame, "lease_seconds"), _optional_number(frame, "memory_bytes")
    argv, env = frame.get("argv"), frame.get("env")
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise ValueError("argv is not a list of texts")
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise ValueError("env is not a mapping of texts")
    preload, late = _optional_texts(frame, "preload"), _optional_texts(frame, "late")
    return StartOrder(
        preload=preload,
        late=frozenset(late),
        id=read_text(frame, "id"),
        argv=tuple(argv),
        cwd=read_text(frame, "cwd"),
        env=env,
        log=read_text(frame, "log"),
        log_limit_bytes=int(read_number(frame, "log_limit_bytes")),
        timeout_seconds=_optional_number(frame, "timeout_seconds"),
        grace_seconds=read_number(frame, "grace_seconds"),
        lease_until=None if lease_seconds is None else read_number(frame, "leased_at") + lease_seconds,
        memory_bytes=None if memory is None else int(memory),
    )


def read_renewal(frame: Mapping[str, object]) -> tuple[list[object], float]:
    """The ids of a `renew` frame and until when, on `lease_clock`, their lease now holds."""
    ids = frame.get("ids")
    if not isinstance(ids, list):
        raise ValueError("ids is not a list")
    return ids, read_number(frame, "leased_at") + read_number(frame, "lease_seconds")


def read_text(frame: Mapping[str, object], name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    return value


def read_number(frame: Mapping[str, object], name: str) -> float:
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
    return None if frame.get(name) is None else read_number(frame, name)
