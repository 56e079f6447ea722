"""Attempts on a storage of which one operation after the other fails: `python -m tests.integration.storage_errors_site`.

Runs with the library of tests/faults/storage_errors.c before libc, and prints a line of JSON for each case.
"""

from __future__ import annotations

import argparse
import errno
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline_queue.contract.errors import PipelineQueueError
from pipeline_queue.storage import patience
from pipeline_queue.storage.file_tree import remove_tree
from tests.conftest import GENEROUS_SECONDS, wait_until
from tests.faults.storage_errors import StorageErrors
from tests.integration.attempt_site import Site, SubmittedRun, names_in, new_site, shared_server
from workers import tasks
from workers.agents import disk_monitor
from workers.context import WorkerContext

PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EAGAIN)
_STRETCH = 7
_AWAY_EVERY = 11
_MAX_MESSAGES = 30
_STEPS = ("one", "two")
_GOOD = """
pipeline:
  parameters:
  - {{name: case, type: int}}
  steps:
  - one: {{run: [sh, -c, {one}, sh, "${{{{ parameters.case }}}}"], reuse: always}}
  - two: {{run: [sh, -c, {two}]}}
"""
_ONE = 'echo "one $1" >> {witness}; echo "says $1"; mkdir sub; echo "$1" > sub/out; echo \'{{"a": 1}}\' > metrics.json'
_TWO = "echo two >> {witness}; cat sub/out > copy; ln -s copy link; echo '{{\"b\": 2}}' > metrics.json"
_BAD = """
pipeline:
  parameters:
  - {{name: case, type: int}}
  steps:
  - one: {{run: [sh, -c, {one}, sh, "${{{{ parameters.case }}}}"]}}
"""
_FAILS = 'echo "one $1" >> {witness}; echo "it went wrong" >&2; echo half > left; exit 3'


@dataclass(frozen=True, slots=True)
class Case:
    """Which operation of the run's fails (`first`, from 1; 0: none), how many from there on, and how."""

    pipeline: str
    first: int
    length: int
    number: int
    is_after: bool = False

    @property
    def fields(self) -> dict[str, int]:
        fields = asdict(self)
        return {name: int(fields[name]) for name in ("first", "length", "number", "is_after")}


class Bench:
    """One worker, which is given one run after the other."""

    def __init__(self, site: Site, errors: StorageErrors, folder: Path) -> None:
        self._site = site
        self._errors = errors
        self._witness = folder / "witness"
        self._worker = site.worker()
        self._runs = 0
        texts = {name: json.dumps(text.format(witness=self._witness)) for name, text in
                 {"one": _ONE, "two": _TWO, "fails": _FAILS}.items()}  # fmt: skip
        self._pipelines = {
            "good": _GOOD.format(one=texts["one"], two=texts["two"]),
            "bad": _BAD.format(one=texts["fails"]),
        }

    def count(self, pipeline: str) -> int:
        """How many operations a run of it takes when none fails."""
        self.run(Case(pipeline, 0, 0, 0))  # the first of a worker takes more
        assert not self.run(Case(pipeline, 0, 0, 0))[0]
        return self._errors.read("seen")

    def run(self, case: Case) -> tuple[list[str], str]:
        """What is wrong with the run that met this, and the operation that failed last."""
        self._runs += 1
        self._witness.write_text("")
        run = self._site.submit(self._pipelines[case.pipeline], case=self._runs)
        # As in a worker that has just been started: nothing is known of the snapshot.
        self._worker.workspaces._known.clear()
        remove_tree(self._site.settings.scratch / "snapshots")
        self._errors.arm(**case.fields)
        try:
            problems = list(self._go_through(run, case))
        finally:
            self._errors.disarm()
        last = self._errors.last() if self._errors.read("failed") else "nothing failed"
        problems += self._judge_bad(run) if case.pipeline == "bad" else self._judge_good(run)
        # What the worker's look at its disks would do: it is not held for longer than the storage fails.
        self._worker.admission.release("storage")
        problems += [f"the worker is held: {reason}" for reason in self._worker.admission.reasons()]
        self._worker.admission.note_end()
        return problems, last

    def run_while(self, pipeline: str, begin: Callable[[StorageErrors], None]) -> tuple[list[str], str]:
        """The same for a run during which the storage fails for a while, with a worker that looks at its disks."""
        self._runs += 1
        self._witness.write_text("")
        run = self._site.submit(self._pipelines[pipeline], case=self._runs)
        worker = self._site.worker(f"w{self._runs}@test")
        worker.disks.start()
        held: list[str] = []
        try:
            begin(self._errors)
            problems = list(self._go_on(run, worker, held))
        finally:
            self._errors.disarm()
            worker.disks.stop()
        if not self._errors.read("failed"):
            problems.append("nothing failed")
        judged = self._judge_bad(run, is_away=True) if pipeline == "bad" else self._judge_good(run, is_away=True)
        return problems + list(judged), f"held: {held[:1]}"

    def _go_on(self, run: SubmittedRun, worker: WorkerContext, held: list[str]) -> Iterator[str]:
        """A message whenever the worker takes one, until the run has ended."""
        steps = [step.name for step in run.sweep.pipeline.steps]
        until = time.monotonic() + GENEROUS_SECONDS
        while time.monotonic() < until:
            if not worker.admission.is_open():
                held += worker.admission.reasons()
                time.sleep(0.01)
                continue
            for step in steps:
                self._site.redis.hset(f"pq1:run:{run.id}", f"{step}|due", 0)
            outcome = tasks._attempted(worker, run.received(steps[0]))
            if outcome.kind == "go_on":
                del steps[0]
            if not steps or outcome.kind == "failed":
                # The look that finds the storage well again may be yet to come.
                wait_until(worker.admission.is_open, "the worker takes steps again")
                return
        yield "it does not end"

    def _go_through(self, run: SubmittedRun, case: Case) -> Iterator[str]:
        """The messages that Celery and the reconciler would bring, one after the other."""
        steps = [step.name for step in run.sweep.pipeline.steps]
        for _ in range(_MAX_MESSAGES):
            for step in steps:
                self._site.redis.hset(f"pq1:run:{run.id}", f"{step}|due", 0)
            try:
                outcome = tasks._attempted(self._worker, run.received(steps[0]))
            except PipelineQueueError as error:
                yield f"{steps[0]}: {type(error).__name__}: {error}"
                return
            if outcome.kind == "go_on":
                del steps[0]
                if not steps:
                    return
            elif outcome.kind == "failed":
                return
            else:
                yield f"{steps[0]} has to be done again: {outcome.kind}: {outcome.text}"
        yield "it does not end"

    def _judge_good(self, run: SubmittedRun, is_away: bool = False) -> Iterator[str]:
        yield from self._judge(run, ["one", "two"], is_away)
        end = run.paths.end()
        if end is None or end.state != "succeeded":
            yield f"ended as {end and end.state}: {end and end.message}"
            return
        if end.metrics != {"a": 1.0, "b": 2.0}:
            yield f"metrics {end.metrics}"
        if [step.state for step in end.steps] != ["succeeded", "succeeded"] or any(step.notes for step in end.steps):
            yield f"steps {end.steps}"
        case = f"{self._runs}\n"
        found = {step: _content(run.paths.step(step) / "outputs") for step in _STEPS}
        wanted = {
            "one": {"metrics.json": '{"a": 1}\n', "sub/out": case},
            "two": {"copy": case, "link": case, "metrics.json": '{"b": 2}\n'},
        }
        if found != wanted:
            yield f"outputs {found}"
        if not run.paths.step("one").is_symlink():
            yield "the shared step is no link"
        names = [name for step in _STEPS for name in names_in(run.paths.step(step)) if not name.startswith(".")]
        if names != ["log", "outputs", "step.json", "outputs", "step.json"]:
            yield f"names {names}"

    def _judge_bad(self, run: SubmittedRun, is_away: bool = False) -> Iterator[str]:
        yield from self._judge(run, ["one"], is_away)
        end = run.paths.end()
        if end is None or end.state != "failed":
            yield f"ended as {end and end.state}"
            return
        if "failed with exit code 3" not in end.message or "it went wrong" not in end.message:
            yield f"message {end.message!r}"
        (step,) = end.steps
        if is_away and any("could not be kept" in note for note in step.notes):
            return
        if step.kept is None or _content(run.paths.folder / step.kept) != {"left": "half\n"}:
            yield f"what it left is not kept: {step.notes}"

    def _judge(self, run: SubmittedRun, steps: list[str], is_away: bool) -> Iterator[str]:
        """What holds however it ends: no attempt counted as a death, and each step executed once.

        While the storage is away for longer than is waited, a step may have more attempts, and one that failed by
        itself more executions: nobody knows then whether it failed for that.
        """
        ran = [line.split()[0] for line in self._witness.read_text().splitlines()]
        if ran != steps and not (is_away and set(ran) == {"one"} == set(steps)):
            yield f"executed {ran}"
        for step in steps:
            deaths, attempts = self._site.redis.hmget(f"pq1:run:{run.id}", f"{step}|deaths", f"{step}|attempts")
            if deaths not in (None, "0") or (attempts not in (None, "1") and not is_away):
                yield f"{deaths!r} deaths and {attempts!r} attempts of {step}"


def _content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def hurry() -> None:
    """Waits are as many as ever, and shorter."""
    patience.FIRST_DELAY_SECONDS = 0.001
    patience.MAX_DELAY_SECONDS = 0.02
    disk_monitor._INTERVAL_SECONDS = 0.02


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("control", type=Path)
    parser.add_argument("what", choices=("some", "all", "one", "away", "hidden"))
    parser.add_argument("--case", help="for `one`: pipeline:first:length:errno:after")
    given = parser.parse_args(arguments)
    hurry()
    with shared_server(given.folder) as server, new_site(server, given.folder) as site:
        bench = Bench(site, StorageErrors(given.control, site.storage.root), given.folder)
        if given.what == "hidden":
            for patience_seconds in (10.0, 0.3):
                disk_monitor._PASSING_SECONDS = patience_seconds
                _tell("good", bench.run_while("good", lambda errors: errors.hide_manifests_for(1.5)))
            return
        if given.what == "away":
            disk_monitor._PASSING_SECONDS = 0.3
            for pipeline in ("good", "bad"):
                for first in range(1, bench.count(pipeline) + 1, _AWAY_EVERY):
                    number = PASSING[first % len(PASSING)]
                    begin = functools.partial(StorageErrors.fail_for, seconds=1.0, number=number, first=first)
                    _tell(f"{pipeline} {errno.errorcode[number]} from {first} on", bench.run_while(pipeline, begin))
            return
        if given.what == "one":
            pipeline, *numbers = given.case.split(":")
            first, length, number, is_after = map(int, numbers)
            cases = [Case(pipeline, first, length, number, bool(is_after))]
        else:
            cases = list(_cases(bench, is_all=given.what == "all"))
        for case in cases:
            _tell(str(case), bench.run(case))


def _tell(case: str, judged: tuple[list[str], str]) -> None:
    problems, last = judged
    print(json.dumps({"case": case, "last": last, "problems": problems}), flush=True)


def _cases(bench: Bench, is_all: bool) -> Iterator[Case]:
    """Every operation with every error, once and for a stretch; and as if it had happened all the same.

    Not all: every operation with one of these errors, and as if it had happened.
    """
    for pipeline in ("good", "bad"):
        for first in range(1, bench.count(pipeline) + 1):
            errors = PASSING if is_all else PASSING[first % len(PASSING) :][:1]
            for number in errors:
                for length in (1, _STRETCH) if is_all else (_STRETCH,):
                    yield Case(pipeline, first, length, number)
            for number in (0, *PASSING) if is_all else (0,):
                yield Case(pipeline, first, 1, number, is_after=True)


if __name__ == "__main__":
    main(sys.argv[1:])
