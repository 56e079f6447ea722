"""The checker sees every kind of fault that is planted, and none where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.faults.checker import Evidence, Findings, check
from tests.faults.pipeline import step as step_under_test
from tests.faults.pipeline.step import STEPS, file_of
from tests.faults.processes import LAB, MACHINE, STEP, WITNESS, end_all, is_step, processes
from tests.faults.sightings import Place, Publication, look
from tests.faults.witness import Sign, executions, read_witness
from tests.limits import kill_and_wait

RUNS = 2
NEXT_TICK_SECONDS = 0.05


@dataclass
class Plain:
    """A storage filled by the plainest thing that is right: each step run here and its folder renamed."""

    folder: Path
    lab: str
    first: dict[Place, Publication] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def witness(self) -> Path:
        return self.folder / "witness"

    def environment(self, step: str) -> dict[str, str]:
        return {LAB: self.lab, MACHINE: "here", STEP: step, WITNESS: str(self.witness)}

    def published(self, run: int, step: str) -> Path:
        return self.runs / f"{run}-n={run}" / step

    def execute(self, run: int, step: str) -> Path:
        """An attempt's folder with the outputs of one execution."""
        attempt = self.published(run, f"{step}.attempt-{len(list(self.runs.rglob('*')))}")
        (attempt / "outputs").mkdir(parents=True)
        place = STEPS.index(step)
        if place:
            before = STEPS[place - 1]
            shutil.copy(self.published(run, before) / "outputs" / file_of(before), attempt)
        command = [sys.executable, step_under_test.__file__, step, str(run), "0:0.01:0"]
        subprocess.run(command, cwd=attempt, env=os.environ | self.environment(step), check=True)
        (attempt / file_of(step)).rename(attempt / "outputs" / file_of(step))
        return attempt

    def run_all(self) -> None:
        for run in range(RUNS):
            for step in STEPS:
                self.execute(run, step).rename(self.published(run, step))
        self.first = look(self.runs, STEPS)
        time.sleep(NEXT_TICK_SECONDS)

    def evidence(self) -> Evidence:
        orphans = [str(process) for process in processes(self.lab, is_step)]
        ran = executions(read_witness(self.witness))
        return Evidence(RUNS, ran, self.first, look(self.runs, STEPS), orphans)

    def findings(self) -> Findings:
        return check(self.evidence())


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Plain]:
    lab = f"checker-{os.getpid()}-{tmp_path.name}"
    try:
        site = Plain(tmp_path, lab)
        site.run_all()
        yield site
    finally:
        end_all(lab)


def test_a_clean_lab_is_green(plain: Plain) -> None:
    findings = plain.findings()
    assert findings.faults() == {}
    assert (findings.executions, findings.extra) == (RUNS * len(STEPS), 0)


def test_a_step_executed_after_its_publication_is_red(plain: Plain) -> None:
    shutil.rmtree(plain.execute(1, "two"))
    assert plain.findings().faults().keys() == {"twice"}
    assert plain.findings().extra == 1


def test_a_step_published_a_second_time_is_red(plain: Plain) -> None:
    again = plain.published(0, "two.again")
    shutil.copytree(plain.published(0, "two"), again)
    plain.published(0, "two").rename(plain.folder / "aside")
    again.rename(plain.published(0, "two"))
    assert "twice" in plain.findings().faults()


def test_a_torn_file_is_red(plain: Plain) -> None:
    plain.first.clear()  # as if it had been torn from the first
    output = plain.published(0, "three") / "outputs" / file_of("three")
    content = output.read_bytes()
    output.write_bytes(content[: len(content) // 2])
    assert "wrong" in plain.findings().faults()


def test_an_output_that_nobody_was_to_write_is_red(plain: Plain) -> None:
    (plain.published(0, "three") / "outputs" / "other").write_text("")
    assert "wrong" in plain.findings().faults()


def test_a_lost_run_is_red(plain: Plain) -> None:
    plain.first.clear()
    shutil.rmtree(plain.published(1, "three").parent)
    assert plain.findings().faults().keys() == {"lost"}


def test_a_run_without_its_last_step_is_red(plain: Plain) -> None:
    plain.first.clear()
    shutil.rmtree(plain.published(1, "three"))
    assert plain.findings().faults().keys() == {"lost"}


def test_a_publication_that_vanished_is_red(plain: Plain) -> None:
    shutil.rmtree(plain.published(1, "three"))
    assert plain.findings().faults().keys() == {"lost", "late"}


def test_steps_in_the_wrong_order_are_red(plain: Plain) -> None:
    evidence = plain.evidence()
    swap = {"two": "three", "three": "two"}
    swapped = [replace(one, step=swap.get(one.step, one.step)) for one in evidence.executions]
    assert "disordered" in check(replace(evidence, executions=swapped)).faults()


def test_a_late_write_is_red(plain: Plain) -> None:
    output = plain.published(1, "one") / "outputs" / file_of("one")
    output.write_bytes(output.read_bytes())  # the same bytes: only the time tells
    assert plain.findings().faults().keys() == {"late"}


def test_an_orphan_process_is_red(plain: Plain) -> None:
    orphan = subprocess.Popen(
        ["sleep", "600"], env=os.environ | plain.environment("one"), start_new_session=True, cwd="/"
    )
    try:
        assert plain.findings().faults().keys() == {"orphans"}
    finally:
        kill_and_wait(orphan)
    assert plain.findings().faults() == {}


def test_two_live_executions_of_one_step_are_red_past_what_the_lease_allows(plain: Plain) -> None:
    evidence = plain.evidence()
    one = evidence.executions[0]
    began = one.begin - 1.0
    other = replace(one, id="other", begin=began, last=began + 4.0, signs=(began, began + 2.0, began + 4.0))
    both = replace(evidence, executions=[other, *evidence.executions])
    assert check(both).faults().keys() == {"overlapping"}
    assert check(replace(both, overlap_allowed_seconds=15.0)).faults() == {}


def test_one_that_was_paused_and_is_ended_as_it_wakes_lived_with_nobody(plain: Plain) -> None:
    evidence = plain.evidence()
    one = evidence.executions[0]
    asleep = replace(one, id="other", begin=one.begin - 16.0, last=one.begin + 2.0)
    asleep = replace(asleep, signs=(one.begin - 16.0, one.begin + 2.0))
    assert check(replace(evidence, executions=[asleep, *evidence.executions])).faults() == {}


def test_recovery_is_how_long_a_begun_run_stood_still() -> None:
    def sign(event: str, execution: str, at: float) -> Sign:
        return Sign(event, 0, "one", execution, "m", 1, at)

    signs = [sign("begin", "a", 10.0), sign("beat", "a", 12.0), sign("begin", "b", 29.5), sign("end", "b", 30.0)]
    findings = check(Evidence(1, executions(signs), {}, {}))
    assert (findings.recovery_seconds, findings.extra) == (17.5, 1)


def test_an_execution_began_when_its_process_was_made(plain: Plain) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    shutil.rmtree(plain.execute(0, "one"))
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    (last,) = [one for one in executions(read_witness(plain.witness)) if one.begin > before - 0.02]
    assert before - 0.02 <= last.begin < last.last <= after


def test_a_half_written_line_of_the_witness_is_not_taken_for_an_event(plain: Plain) -> None:
    before = read_witness(plain.witness)
    with plain.witness.open("a") as file:
        file.write('{"v": 1, "event": "beg')
    assert read_witness(plain.witness) == before
