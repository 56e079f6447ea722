"""Decides whether the step or its machine caused a failure, in functions without effects.

A failure is *suspicious* when the step ends at once, with an empty log or because the machine lacks something that it
should have. The worker hands the step on: another worker executes it, too, and only if it fails there as well is the
failure the step's own. A worker pauses if several runs in a row ended like that and no other worker confirms it.
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
"""A step that ran longer than this had started its work."""
MAX_VOID_SECONDS = 0.1
"""If a Python step succeeds this fast and leaves nothing, perhaps no Python has executed it."""
MAX_LOADING_SECONDS = 60.0
"""Importing a large library may take long before Python reaches the missing part."""
MAX_HANDED_ON = 2
"""How often one step of one run is handed on; after that, its failures are its own."""
MIN_SUSPECTS = 3
"""A worker pauses after suspicious failures of this many different runs in a row."""
MAX_WASTED_ATTEMPTS = 10
"""After this many attempts beyond a step's retries, even an unusable interpreter counts as a death of the step."""
FIRST_PAUSE_SECONDS, PROVEN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 15.0, 60.0, 600.0
TRUSTED_SECONDS = 60.0
"""How long a worker does not suspect itself after other workers have confirmed its failures."""
RETRY_ELSEWHERE_SECONDS = 15.0
OPINION_ELSEWHERE_SECONDS = 600.0
"""How long a worker on which a step failed leaves that step to others, as long as there are others."""

Opinion = Literal["none", "failed", "succeeded"]
"""The result of a suspicious step on another worker."""

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
    """How the process of a failed attempt ended. `line`: the last line about an error in its log."""

    cause: Cause
    seconds: float
    log_bytes: int
    exit_code: int | None = None
    signal: int | None = None
    line: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """The history of one step of one run: where it failed before, and how often it was handed on."""

    failed_on: tuple[str, ...] = ()
    """Workers (`name@host`) or whole hosts (`@host`)."""
    handed_on: int = 0


@dataclass(frozen=True, slots=True)
class Suspect:
    """A suspicious failure on this worker, and the result of that step on another worker since."""

    run: str
    step: str
    line: str
    opinion: Opinion = "none"


def is_suspicious(sign: Sign) -> bool:
    """Whether the machine may have caused the failure."""
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
    """Whether to test the interpreter alone: not after a step that ran for a while or printed a Python traceback."""
    if sign.cause not in _ITS_OWN or sign.seconds > MAX_SUDDEN_SECONDS:
        return False
    return not line_is_of_python or bool(_LACKS_SOMETHING.search(sign.line))


def is_void(is_python: bool, seconds: float, log_bytes: int, outputs: int) -> bool:
    """Whether a success may come from another program that replaces the interpreter."""
    return is_python and seconds <= MAX_VOID_SECONDS and log_bytes == 0 and outputs == 0


def peers_of(me: str, queue: str, workers: Sequence[LiveWorker]) -> tuple[str, ...]:
    """The other workers that accept steps from this queue now."""
    return tuple(one.name for one in workers if one.name != me and queue in one.queues and not one.holds)


def untried(me: str, tried: Tried, peers: Sequence[str]) -> tuple[str, ...]:
    """The peers whose result would be new evidence: with several hosts, those on hosts where it has not failed."""
    marks = {*tried.failed_on, *_marks(me, peers)}
    return tuple(peer for peer in peers if not marks & {peer, _host(peer)})


def has_failed_elsewhere(me: str, tried: Tried) -> bool:
    """Whether the history shows that the step failed on another machine."""
    return not set(tried.failed_on) <= {me, _host(me)}


def to_avoid(me: str, tried: Tried, peers: Sequence[str]) -> tuple[str, ...]:
    """The workers that must not make the next attempt: all on which it failed, or only this one if no other is left."""
    if not peers:
        return ()
    own = _marks(me, peers)
    return tuple(dict.fromkeys((*tried.failed_on, *own))) if untried(me, tried, peers) else own


def handed_on(failure: Failure, sign: Sign, me: str, tried: Tried, peers: Sequence[str], is_shared: bool) -> Failure:
    """The failure, unchanged or marked for another worker to confirm, so that it does not count yet.

    A shared step that is out of retries gets one execution on another host, whatever its failure looked like, because
    several runs wait for it.
    """
    others = untried(me, tried, peers)
    if not others or failure.infrastructure or failure.cause not in _ITS_OWN:
        return failure
    is_for_all = is_shared and tried.handed_on == 0 and not has_failed_elsewhere(me, tried)
    if not is_for_all and not (is_suspicious(sign) and tried.handed_on < MAX_HANDED_ON):
        return failure
    return replace(failure, is_handed_on=True)


def opinion_of(suspect: Suspect, me: str, run: LiveRun | None) -> Opinion:
    """The step's result on another worker; an opinion that is known already does not change."""
    step = run.steps.get(suspect.step) if run else None
    if suspect.opinion != "none" or step is None or step.worker in ("", me):
        return suspect.opinion
    if step.state == "succeeded":
        return "succeeded"
    return "failed" if step.state in ("failed", "retrying") else "none"


def should_pause(suspects: Sequence[Suspect], is_on_trial: bool) -> bool:
    """Whether this worker should leave steps to others: several runs (after a pause, one) ended at once here.

    False when most of the runs that other workers executed failed there as well.
    """
    runs = {suspect.run for suspect in suspects}
    return len(runs) >= (1 if is_on_trial else MIN_SUSPECTS) and not is_borne_out(suspects)


def is_borne_out(suspects: Sequence[Suspect]) -> bool:
    """Whether the steps failed on other workers, too, so that the steps are to blame."""
    failed = sum(suspect.opinion == "failed" for suspect in suspects)
    return failed > 0 and failed >= sum(suspect.opinion == "succeeded" for suspect in suspects)


def is_proven(suspects: Sequence[Suspect]) -> bool:
    """Whether a step that failed here succeeded on another worker, so that this worker is to blame."""
    return not is_borne_out(suspects) and any(suspect.opinion == "succeeded" for suspect in suspects)


def should_reopen(
    is_proven_bad: bool, others: int, open_others: int, paused_seconds: float, pause_seconds: float
) -> bool:
    """Whether a paused worker takes steps again.

    There are `others` other live workers, of which `open_others` take steps. After `pause_seconds`, the worker gets one
    trial step. If no other worker takes steps, a worker without a proven fault does the work.
    """
    if paused_seconds >= pause_seconds or others == 0:
        return True
    return open_others == 0 and not is_proven_bad


def next_pause_seconds(before: float) -> float:
    """The next pause: twice as long as the last (`before`, 0 before the first), within limits."""
    return min(max(2 * before, FIRST_PAUSE_SECONDS), MAX_PAUSE_SECONDS)


def interpreter_failure(step: str, fault: str, attempt: int, retries: int, is_workers_own: bool) -> Failure:
    """The failure of an attempt whose interpreter is unusable. Up to a limit, it does not count.

    `is_workers_own`: the worker pauses until its interpreter works. An interpreter that came with a submission is no
    reason to pause, so each attempt is a death of the step, with some time between attempts.
    """
    text = f"step {step} was not done: {fault}"
    if is_workers_own:
        return Failure("lost", text, True, is_death=attempt > retries + MAX_WASTED_ATTEMPTS, delay_seconds=1.0)
    remedy = "this was submitted with it: make it anew, or use `pipeline-queue retry` from another environment"
    return Failure("lost", f"{text}; {remedy}", True, delay_seconds=10.0, is_of_worker=False)


def _host(name: str) -> str:
    return f"@{name.partition('@')[2]}"


def _marks(worker: str, others: Sequence[str]) -> tuple[str, ...]:
    """The mark of a worker on which a step failed: its host, if there are several hosts."""
    return (_host(worker),) if any(_host(other) != _host(worker) for other in others) else (worker,)
