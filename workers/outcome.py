"""Decides how an attempt ended and words it for people, in pure functions."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline_queue.contract.errors import StorageAwayError, StorageError
from pipeline_queue.contract.records import Cause
from pipeline_queue.contract.wording import counted, exact_duration
from pipeline_queue.model.failure_causes import LOG_FOLLOWS, LOG_IS_EMPTY, meaningful_line
from pipeline_queue.model.pipeline import Step
from pipeline_queue.storage.disk import is_full, is_passing
from workers.outputs import Found
from workers.supervisor.protocol import ExecutionResult
from workers.supervisor.signal_names import signal_name

_TAIL_LINES = 10
_TAIL_BYTES = 4096
_SEARCHED_BYTES = 65_536
_LINE_CHARACTERS = 500
_FULL_DELAY_SECONDS = 5.0
# Longer than workers need to notice that the whole storage fails.
_PASSING_DELAY_SECONDS = 10.0


ReadEnd = Callable[[int], bytes]
"""Reads at most the given number of bytes from the end of a log; raises OSError or StorageError."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed.

    An `infrastructure` failure is not the step's fault and uses up none of its `retries`. It counts against the step
    only if it `is_death`; a worker that stops and hands its steps back causes no death.
    """

    cause: Cause
    message: str
    infrastructure: bool = False
    is_death: bool = True
    delay_seconds: float = 1.0
    """Delay before the next attempt after an `infrastructure` failure."""
    is_handed_on: bool = False
    """Another worker shall find out whether the step or this machine failed; the failure does not count until then."""
    is_of_worker: bool = True
    """Whether several such `infrastructure` failures in a row are blamed on this worker. False when the submission
    brought the cause."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the Celery task does next: `go_on` with the chain, or stop it.

    It stops when the step failed, will be retried, was cancelled, waits for another run's execution, is held until the
    sweep is resumed, or has nothing to do.
    """

    kind: Literal["go_on", "failed", "retry", "cancelled", "waiting", "paused", "dropped"]
    text: str


def failure_of(step: Step, result: ExecutionResult, found: Found | None) -> Failure | None:
    """Why the step failed, None when it succeeded. `found` is what it left, None when this was not checked."""
    name = step.name
    match result.cause:
        case "not_started":
            return Failure("not_started", f"step {name} could not be started: {result.error}", result.infrastructure)
        case "timeout":
            assert step.timeout_seconds is not None
            limit = exact_duration(step.timeout_seconds)
            return Failure("timeout", f"step {name} was killed: it ran longer than its timeout of {limit}")
        case "memory":
            assert step.memory_bytes is not None
            used, limit = sizes(result.memory_bytes or 0, step.memory_bytes)
            return Failure(
                "memory", f"step {name} was killed: its processes used {used} of memory, its limit is {limit}"
            )
        case "out_of_memory":
            return Failure(
                "memory", f"step {name} was killed by the system: the machine or its container ran out of memory"
            )
        case "stopped":
            return Failure("cancelled", f"step {name} was cancelled")
        case "lease_lost":
            return Failure("lost", f"step {name} was killed: this worker lost contact with the broker", True)
        case "signalled":
            return Failure("signal", f"step {name} was terminated by {describe_signal(result.signal or 0)}")
    if result.exit_code != 0:
        return Failure("exit_code", f"step {name} failed with exit code {result.exit_code}")
    missing = found.missing(step.outputs) if found is not None else []
    if missing:
        return Failure(
            "missing_outputs",
            f"step {name} exited with code 0 but did not write its declared outputs: {', '.join(missing)}",
        )
    return None


def storage_failure(step: str, text: str, error: BaseException, trouble: str = "") -> Failure:
    """The failure for a storage error. Workers wait out a full disk and an unreachable storage, which do not count;
    other faults may concern this step's files only. `trouble`: what is wrong with the whole storage, or empty."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if is_full(cause):
        return Failure("storage", f"step {step}: {text}", True, is_death=False, delay_seconds=_FULL_DELAY_SECONDS)
    if trouble or isinstance(error, StorageAwayError):
        return Failure("storage", f"step {step}: {text}", True, is_death=False, delay_seconds=_PASSING_DELAY_SECONDS)
    delay = _PASSING_DELAY_SECONDS if is_passing(cause) else 1.0
    return Failure("storage", f"step {step}: {text}", True, delay_seconds=delay)


def too_large(step: str, file: str, size_bytes: int | None) -> Failure:
    """The failure for a file that is too large. It is the step's own: no other attempt could store such a file here."""
    size = "" if size_bytes is None else f" of {counted(size_bytes, 'byte')}"
    return Failure(
        "missing_outputs",
        f"step {step} exited with code 0 but its output {file[:200]!r}{size} is larger than the storage takes "
        "(File too large); write smaller files, or raise the limit of the file system or of the worker (ulimit -f)",
    )


def blamed_on_disk(failure: Failure, trouble: str, is_full: bool) -> Failure:
    """Blames the disk if it was full or broken while the step failed; `trouble` is empty when it was not.

    A full disk counts as a death, because the step itself may have filled it.
    """
    if not trouble or failure.cause not in ("exit_code", "signal", "missing_outputs"):
        return failure
    text = f"{failure.message} while {trouble}"
    return Failure("storage", text, True, is_death=is_full, delay_seconds=_FULL_DELAY_SECONDS)


def not_begun(failure: Failure, trouble: str) -> Failure:
    """Blames the storage, not the step, if the step could not start because its log cannot be written: no death."""
    if not trouble:
        return failure
    return Failure("storage", f"{failure.message}: {trouble}", True, is_death=False, delay_seconds=_FULL_DELAY_SECONDS)


def missing_link(step: str, links: Mapping[str, str]) -> Failure | None:
    """The failure when this machine lacks the target of one of the pipeline's links; None when all targets exist.
    Another machine may have it."""
    for name, target in links.items():
        if not os.path.exists(target):  # noqa: PTH110 - it never raises
            text = f"step {step} was not started: {target}, the target of its link {name}, does not exist"
            return Failure("not_started", f"{text} on {socket.gethostname()}; is it mounted?", infrastructure=True)
    return None


def cancelled(step: str) -> Failure:
    return Failure("cancelled", f"step {step} was cancelled")


def handed_back(step: str, why: str) -> Failure:
    """The failure when a stopping worker hands a step to others: at once, and as if it had never started."""
    return Failure("lost", f"step {step} was ended: {why}", True, is_death=False, delay_seconds=0.0)


def left_to_others(step: str, why: str) -> Failure:
    """The failure when this worker stopped taking steps after it had prepared this one, so that others execute it."""
    return Failure("lost", f"step {step} was not started: {why}", True, is_death=False, delay_seconds=0.0)


def describe_signal(number: int) -> str:
    """`signal 9 (SIGKILL), perhaps by the system for lack of memory`."""
    name = signal_name(number)
    if name == f"signal {number}":
        return name
    hint = ", perhaps by the system for lack of memory" if number == signal.SIGKILL else ""
    return f"signal {number} ({name}){hint}"


def sizes(used: int, limit: int) -> tuple[str, str]:
    """Both sizes in the unit in which the user probably wrote the limit: (`2.1 GB`, `2 GB`)."""
    powers = [(f"{prefix}{end}", base**power) for end, base in (("B", 1000), ("iB", 1024))
              for power, prefix in ((4, "T"), (3, "G"), (2, "M"))]  # fmt: skip
    fitting = [(limit / size, unit, size) for unit, size in powers if limit >= size]
    # The unit in which the limit takes the fewest characters.
    _, unit, size = min(fitting, key=lambda one: (len(f"{one[0]:.10g}"), one[0]))
    shown = f"{used / size:.3g}"
    return f"{shown if shown != f'{limit / size:.3g}' else f'{used / size:.6g}'} {unit}", f"{limit / size:.10g} {unit}"


def with_tail(message: str, read_end: ReadEnd) -> str:
    """The message followed by the last lines of a log."""
    shown = last_lines(read_end)
    if not shown:
        return f"{message}{LOG_IS_EMPTY}"
    telling = meaningful_line(lines_at_end(read_end))
    if telling and not any(telling in line for line in shown):
        shown = [telling, "…", *shown]
    return "\n".join([f"{message}{LOG_FOLLOWS}", *(f"  {_shortened(line)}" for line in shown)])


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]}… ({counted(len(line), 'character')})"


def last_lines(read_end: ReadEnd) -> list[str]:
    """The last non-empty lines of the log; a carriage return starts a new line."""
    return lines_at_end(read_end, _TAIL_BYTES)[-_TAIL_LINES:]


def lines_at_end(read_end: ReadEnd, size_bytes: int = _SEARCHED_BYTES) -> list[str]:
    """The non-empty lines in the last bytes of a log; none when the log cannot be read."""
    try:
        block = read_end(size_bytes)
    except (OSError, StorageError):
        return []
    lines = block.decode(errors="replace").replace("\r", "\n").split("\n")
    return [line for line in lines if line.strip()]
