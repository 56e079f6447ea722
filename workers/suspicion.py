"""Whether a failure is of the step or of the machine it ran on: decisions from what is known, without effects.

A step that ends at once, with an empty log or for want of something that a machine should have, is *suspicious*. It is
handed on: another worker executes it too, and only what fails there as well is the step's own failure. A worker on
which several runs in a row ended like that, and whom no other worker bears out, pauses.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline_queue.contract.records import Cause
from pipeline_queue.index.live_runs import LiveRun
from pipeline_queue.index.worker_registry import LiveWorker
from workers.outcome import Failure

MAX_SUDDEN_SECONDS = 5.0
"""A step that ran longer began to work."""
MAX_VOID_SECONDS = 0.1
"""A Python step that succeeded as fast as this and left nothing may not have been executed by any Python."""
MAX_LOADING_SECONDS = 60.0
"""Importing a large library may take long before the part is reached that is missing."""
MAX_HANDED_ON = 2
"""Times that one step of one run is handed on; from then on its failures are its own."""
MIN_SUSPECTS = 3
"""Different runs in a row after which a worker pauses."""
MAX_WASTED_ATTEMPTS = 10
"""Attempts beyond a step's retries after which even an unusable interpreter counts as one of its deaths."""
FIRST_PAUSE_SECONDS, PROVEN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 15.0, 60.0, 600.0
TRUSTED_SECONDS = 60.0
"""How long a worker whom others bore out suspects itself of nothing."""
RETRY_ELSEWHERE_SECONDS = 15.0
OPINION_ELSEWHERE_SECONDS = 600.0
"""How long the worker that failed a step lets others take it, while there are others."""

Opinion = Literal["none", "failed", "succeeded"]
"""What became of a suspicious step on another worker."""

_ITS_OWN: tuple[Cause, ...] = ("exit_code", "signal", "missing_outputs", "not_started")
_OF_MACHINES = (signal.SIGILL, signal.SIGBUS, signal.SIGSEGV)
_CANNOT_EXECUTE, _NOT_FOUND = 126, 127
_LACKS_SOMETHING = re.compile(
    r"\b(?:ModuleNotFoundError|ImportError): |: No module named |error while loading shared libraries|"
    r"cannot open shared object file|symbol lookup error|version `\w+' not found|undefined symbol|"
    r"command not found|bad interpreter|Exec format error|Illegal instruction|"
    r"no CUDA-capable device|CUDA driver version|Found no NVIDIA driver|Read-only file system|"
    r"could not find platform (?:in)?dependent libraries|init_fs_encoding|No module named 'encodings'",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sign:
    """How the process of a failed attempt ended. `line`: what its log says last of an error."""

    cause: Cause
    seconds: float
    log_bytes: int
    exit_code: int | None = None
    signal: int | None = None
    line: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """Of one step of one run: where it failed before, and how often it was handed on."""

    failed_on: tuple[str, ...] = ()
    """Workers (`name@host`) or whole hosts (`@host`)."""
    handed_on: int = 0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A suspicious failure on this worker, and what another worker made of that step since."""

    run: str
    step: str
    line: str
    opinion: Opinion = "none"


def is_suspicious(sign: Sign) -> bool:
    """Whether the machine may be to blame."""
    if sign.cause not in _ITS_OWN:
        return False
    if sign.cause == "not_started":
        return True
    if sign.seconds <= MAX_SUDDEN_SECONDS:
        cannot = sign.exit_code in (_CANNOT_EXECUTE, _NOT_FOUND) or sign.signal in _OF_MACHINES
        if cannot or sign.log_bytes == 0:
            return True
    return sign.seconds <= MAX_LOADING_SECONDS and bool(_LACKS_SOMETHING.search(sign.line))


def needs_probe(sign: Sign, line_is_of_python: bool) -> bool:
    """Whether to start the interpreter by itself: not for a step that ran a while or showed a Python traceback."""
    if sign.cause not in _ITS_OWN or sign.seconds > MAX_SUDDEN_SECONDS:
        return False
    return not line_is_of_python or bool(_LACKS_SOMETHING.search(sign.line))


def is_void(is_python: bool, seconds: float, log_bytes: int, outputs: int) -> bool:
    """Whether a success may be that of a program that was put in the interpreter's place."""
    return is_python and seconds <= MAX_VOID_SECONDS and log_bytes == 0 and outputs == 0


def peers_of(me: str, queue: str, workers: Sequence[LiveWorker]) -> tuple[str, ...]:
    """The other workers that take this queue's steps now."""
    return tuple(one.name for one in workers if one.name != me and queue in one.queues and not one.holds)


def untried(me: str, tried: Tried, peers: Sequence[str]) -> tuple[str, ...]:
    """The peers whose execution would tell something: on hosts that have not failed it, where there are several."""
    marks = {*tried.failed_on, *_marks(me, peers)}
    return tuple(peer for peer in peers if not marks & {peer, _host(peer)})


def has_failed_elsewhere(me: str, tried: Tried) -> bool:
    """Whether a step failed on another machine, as far as that is remembered."""
    return not set(tried.failed_on) <= {me, _host(me)}


def to_avoid(me: str, tried: Tried, peers: Sequence[str]) -> tuple[str, ...]:
    """Whom the next attempt is kept from: all that failed it, or only this worker when nobody else is left."""
    if not peers:
        return ()
    own = _marks(me, peers)
    return tuple(dict.fromkeys((*tried.failed_on, *own))) if untried(me, tried, peers) else own


def handed_on(failure: Failure, sign: Sign, me: str, tried: Tried, peers: Sequence[str], is_shared: bool) -> Failure:
    """The failure, or the same as one that another worker is to confirm and that counts for nothing yet.

    `is_shared` and out of retries: one execution on another host, whatever it looked like, for all that wait for it.
    """
    others = untried(me, tried, peers)
    if not others or failure.infrastructure or failure.cause not in _ITS_OWN:
        return failure
    is_for_all = is_shared and tried.handed_on == 0 and not has_failed_elsewhere(me, tried)
    if not is_for_all and not (is_suspicious(sign) and tried.handed_on < MAX_HANDED_ON):
        return failure
    return replace(failure, is_handed_on=True)


def opinion_of(suspect: Suspect, me: str, run: LiveRun | None) -> Opinion:
    """What another worker made of the step; an opinion that was known stays."""
    step = run.steps.get(suspect.step) if run else None
    if suspect.opinion != "none" or step is None or step.worker in ("", me):
        return suspect.opinion
    if step.state == "succeeded":
        return "succeeded"
    return "failed" if step.state in ("failed", "retrying") else "none"


def should_pause(suspects: Sequence[Suspect], is_on_trial: bool) -> bool:
    """Whether this worker should leave steps to others: several runs, or after a pause one, ended at once here.

    Not when most of those that others executed failed there as well.
    """
    runs = {suspect.run for suspect in suspects}
    return len(runs) >= (1 if is_on_trial else MIN_SUSPECTS) and not is_borne_out(suspects)


def is_borne_out(suspects: Sequence[Suspect]) -> bool:
    """Whether others found what this worker found: then the steps are to blame."""
    failed = sum(suspect.opinion == "failed" for suspect in suspects)
    return failed > 0 and failed >= sum(suspect.opinion == "succeeded" for suspect in suspects)


def is_proven(suspects: Sequence[Suspect]) -> bool:
    """Whether another worker did what failed here."""
    return not is_borne_out(suspects) and any(suspect.opinion == "succeeded" for suspect in suspects)


def should_reopen(
    is_proven_bad: bool, others: int, open_others: int, paused_seconds: float, pause_seconds: float
) -> bool:
    """Whether a paused worker takes steps again.

    `others` workers live, of which `open_others` take steps; after `pause_seconds` it is tried with one step. Without
    anybody who does the work, a worker of whom nothing is proven does it.
    """
    if paused_seconds >= pause_seconds or others == 0:
        return True
    return open_others == 0 and not is_proven_bad


def next_pause_seconds(before: float) -> float:
    """Twice as long as the last, within limits; 0 before the first."""
    return min(max(2 * before, FIRST_PAUSE_SECONDS), MAX_PAUSE_SECONDS)


def interpreter_failure(step: str, fault: str, attempt: int, retries: int, is_workers_own: bool) -> Failure:
    """What an unusable interpreter makes of an attempt: nothing that counts, within bounds.

    `is_workers_own`: its worker pauses until it works. One that came with a submission is no reason to pause, so each
    attempt is a death of the step, some time apart.
    """
    text = f"step {step} was not done: {fault}"
    if is_workers_own:
        return Failure("lost", text, True, is_death=attempt > retries + MAX_WASTED_ATTEMPTS, delay_seconds=1.0)
    remedy = "this was submitted with it: make it anew, or use `pipeline-queue retry` from another environment"
    return Failure("lost", f"{text}; {remedy}", True, delay_seconds=10.0, is_of_worker=False)


def _host(name: str) -> str:
    return f"@{name.partition('@')[2]}"


def _marks(worker: str, others: Sequence[str]) -> tuple[str, ...]:
    """How a worker is named among those that failed: by its host, where there are several hosts."""
    return (_host(worker),) if any(_host(other) != _host(worker) for other in others) else (worker,)
