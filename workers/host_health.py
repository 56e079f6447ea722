"""Whether this worker's machine is fit for steps: looked at after suspicious failures only, never after others.

Pauses the worker when its interpreter does not work or when several runs in a row ended at once here, probes, and has
it take steps again. What is decided lies in `suspicion.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.wording import counted
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.worker_registry import LiveWorker
from workers import suspicion
from workers.agents.admission import Admission
from workers.executor import Executor
from workers.interpreter import find_fault
from workers.suspicion import Sign, Suspect, Tried

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 1.0
_PROBE_SECONDS = 2.0
_PEERS_SECONDS = 1.0
_TRIAL_SECONDS = suspicion.MAX_SUDDEN_SECONDS
_INTERPRETER, _SUDDEN = "interpreter", "sudden failures"
_MAX_SUSPECTS = 20
_LINE_CHARACTERS = 200

Interpreter = tuple[Path, Mapping[str, str]]


class HostHealth:
    """Thread-safe; `run_index` is its own.

    `own` is the worker's interpreter and environment, `folder` where it is tried.
    """

    def __init__(
        self, name: str, run_index: RunIndex, executor: Executor, admission: Admission, own: Interpreter, folder: Path
    ) -> None:
        self._name = name
        self._run_index = run_index
        self._executor = executor
        self._admission = admission
        self._own = own
        self._folder = folder
        self._judging = threading.RLock()
        self._trial_over = threading.Condition(self._judging)
        self._working: tuple[Interpreter, float] | None = None
        self._suspects: list[Suspect] = []
        self._trusted_until = 0.0
        self._paused_at = 0.0
        self._pause_seconds = 0.0
        self._is_on_trial = False
        self._is_proven_bad = False
        self._trial_until = 0.0
        self._workers: tuple[float, list[LiveWorker]] = (-_PEERS_SECONDS, [])
        self._held = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._held.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # a probe that hangs holds it up

    def peers(self, queue: str) -> tuple[str, ...]:
        """The other workers that take this queue's steps now; none without a broker to ask."""
        return suspicion.peers_of(self._name, queue, self._live())

    def wait_to_begin(self) -> str:
        """Why no step may be started here now, empty when one may. Waits while a failure is being judged.

        After a pause it lets one step begin, and the others when that did not end at once.
        """
        with self._judging:
            while self._is_on_trial and (left := self._trial_until - time.monotonic()) > 0:
                self._trial_over.wait(left)
            if self._is_on_trial:
                self._trial_until = time.monotonic() + _TRIAL_SECONDS
            for key in (_INTERPRETER, _SUDDEN):
                if self._admission.is_held(key):
                    return self._admission.reason(key)
        return ""

    def interpreter_fault(self, used: Interpreter, started_at: float) -> tuple[str, bool]:
        """What is wrong with the interpreter that a step used, empty if nothing; and whether it is the worker's own.

        `started_at`, by `time.monotonic()`: one that was seen to work since is not started again. The worker pauses
        for its own.
        """
        python, variables = used
        with self._judging:
            if self._working is not None and self._working[0] == used and self._working[1] > started_at:
                return "", False
            begun_at = time.monotonic()
            fault = find_fault(self._executor, python, variables, self._folder)
            if not fault:
                self._working = used, begun_at
                return "", False
            own_fault = fault if used == self._own else find_fault(self._executor, *self._own, self._folder)
            if own_fault and not self._executor.is_closing():
                self._admission.hold(_INTERPRETER, f"{own_fault}; it is tried every {_PROBE_SECONDS:g} s")
                self._held.set()
            return fault, bool(own_fault)

    def note_failure(self, run: RunId, step: str, sign: Sign, tried: Tried, peers: Sequence[str]) -> None:
        """A step failed here for reasons of its own, as far as is known."""
        with self._judging:
            if not suspicion.is_suspicious(sign):
                self._clear()
                return
            if not peers:
                self._clear()  # nobody to compare with
                return
            if time.monotonic() < self._trusted_until:
                return
            known = [one for one in self._suspects if (one.run, one.step) != (str(run), step)][-_MAX_SUSPECTS:]
            opinion: suspicion.Opinion = "failed" if suspicion.has_failed_elsewhere(self._name, tried) else "none"
            self._suspects = [*known, Suspect(str(run), step, sign.line[:_LINE_CHARACTERS], opinion)]
            if self._admission.is_held(_SUDDEN):
                return  # it was under way when this worker paused
            if suspicion.should_pause(self._suspects, self._is_on_trial):
                self._ask_others()
                if suspicion.should_pause(self._suspects, self._is_on_trial):
                    self._pause()
                else:
                    self._trust()

    def note_success(self) -> None:
        """A step succeeded here."""
        if self._suspects or self._is_on_trial or self._pause_seconds:
            with self._judging:
                self._clear()

    def _clear(self) -> None:
        if self._admission.is_held(_SUDDEN):
            return  # what ended now was under way when this worker paused
        if self._is_on_trial:
            logger.info("this worker is out of suspicion")
        self._suspects = []
        self._is_on_trial = self._is_proven_bad = False
        self._pause_seconds = 0.0
        self._trial_over.notify_all()

    def _trust(self) -> None:
        logger.info("steps fail elsewhere as they fail here: the failures are their own")
        self._trusted_until = time.monotonic() + suspicion.TRUSTED_SECONDS
        self._clear()

    def _pause(self) -> None:
        self._pause_seconds = suspicion.next_pause_seconds(self._pause_seconds)
        self._paused_at = time.monotonic()
        self._is_on_trial = False
        self._trial_over.notify_all()
        self._say_why()
        self._held.set()

    def _say_why(self) -> None:
        count = len({suspect.run for suspect in self._suspects})
        last = self._suspects[-1]
        said = f" ({last.line})" if last.line else " with an empty log"
        runs = f"{counted(count, 'run')} in a row" if count > 1 else "the first run after a pause"
        self._admission.hold(
            _SUDDEN,
            f"{runs} failed here at once, the last in step {last.step} of {last.run}{said}; "
            f"other workers do them, and this one tries again after {self._pause_seconds:g} s",
        )

    def _run(self) -> None:
        while True:
            self._held.wait()
            if self._stopping.wait(_INTERVAL_SECONDS):
                return
            try:
                self._look()
            except Exception:
                logger.exception("this worker's health was not looked at")

    def _look(self) -> None:
        """One look at what holds this worker; releases it when that has passed."""
        if self._admission.is_held(_INTERPRETER):
            self._stopping.wait(_PROBE_SECONDS - _INTERVAL_SECONDS)
            fault = find_fault(self._executor, *self._own, self._folder)
            with self._judging:
                if fault:
                    self._admission.hold(_INTERPRETER, f"{fault}; it is tried every {_PROBE_SECONDS:g} s")
                else:
                    self._admission.release(_INTERPRETER)
        with self._judging:
            if self._admission.is_held(_SUDDEN):
                self._reopen_in_time()
            if not (
                self._admission.is_held(_INTERPRETER) or self._admission.is_held(_SUDDEN) or self._stopping.is_set()
            ):
                self._held.clear()

    def _reopen_in_time(self) -> None:
        self._ask_others()
        if suspicion.is_borne_out(self._suspects):
            self._admission.release(_SUDDEN)
            self._trust()
            return
        if suspicion.is_proven(self._suspects) and not self._is_proven_bad:
            self._is_proven_bad = True
            self._pause_seconds = max(self._pause_seconds, suspicion.PROVEN_PAUSE_SECONDS)
            self._say_why()
        rows = self._live()
        mine = {queue for row in rows if row.name == self._name for queue in row.queues}
        others = [row for row in rows if row.name != self._name and mine & set(row.queues)]
        paused = time.monotonic() - self._paused_at
        count_open = sum(not row.holds for row in others)
        if not suspicion.should_reopen(self._is_proven_bad, len(others), count_open, paused, self._pause_seconds):
            return
        self._admission.release(_SUDDEN)
        self._is_on_trial, self._trial_until = True, 0.0
        self._suspects = []

    def _ask_others(self) -> None:
        """Looks what became of the suspects on other workers."""
        with suppress(BrokerError):
            self._suspects = [
                replace(one, opinion=suspicion.opinion_of(one, self._name, self._run_index.run(RunId.parse(one.run))))
                if one.opinion == "none"
                else one
                for one in self._suspects
            ]

    def _live(self) -> list[LiveWorker]:
        """The workers that live, as of a second ago; the last that were known without a broker."""
        read_at, workers = self._workers
        if time.monotonic() - read_at >= _PEERS_SECONDS:
            with suppress(BrokerError):
                workers = self._run_index.workers.live()
            self._workers = (time.monotonic(), workers)
        return workers
