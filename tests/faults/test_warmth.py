"""What the lab says of warm steps and does to warm processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_queue.loading.loader import load_pipeline
from tests.conftest import wait_until
from tests.faults.checker import Evidence
from tests.faults.machine import Machine
from tests.faults.namespaces import PREFIX
from tests.faults.pipeline import step as step_under_test
from tests.faults.play import Played
from tests.faults.processes import LAB, MACHINE, WITNESS, end_all, on_machine, processes
from tests.faults.products import make_warm, write_project
from tests.faults.schedule import Fault
from tests.faults.warmth import KILL, outlived_warm_processes, were_forked
from tests.faults.witness import Execution, executions, read_witness
from tests.limits import wait_for_end

STEP = Execution(0, "one", "a", "m1", begin=10.0, last=10.9, ended=True, forked=True)


def played(*ran: Execution, faults: tuple[tuple[Fault, float], ...] = ()) -> Played:
    return Played(Evidence(1, ran, {}, {}), list(faults), seconds=1.0, exits=0)


@pytest.mark.parametrize("forked", [False, True])
def test_a_step_knows_whether_it_was_forked(forked: bool, tmp_path: Path) -> None:
    fork = "import os, sys\nif os.fork(): sys.exit(os.waitpid(-1, 0)[1])\n" if forked else "import sys\n"
    program = f"{fork}sys.argv[1:] = ['one', '0', '0:0:0']\nimport runpy; runpy.run_path({step_under_test.__file__!r}, "
    environment = {**os.environ, MACHINE: "m1", WITNESS: str(tmp_path / "witness")}
    subprocess.run([sys.executable, "-c", f"{program}run_name='__main__')"], cwd=tmp_path, env=environment, check=True)
    (ran,) = executions(read_witness(tmp_path / "witness"))
    assert (ran.ended, ran.forked) == (True, forked)


def test_a_warm_pipeline_preloads_for_each_step_and_is_otherwise_the_same(tmp_path: Path) -> None:
    write_project(tmp_path)
    cold = load_pipeline(tmp_path / "pipeline.yaml").pipeline
    make_warm(tmp_path / "pipeline.yaml")
    warm = load_pipeline(tmp_path / "pipeline.yaml").pipeline
    assert all(step.preload for step in warm.steps)
    assert [step.model_copy(update={"preload": ()}) for step in warm.steps] == list(cold.steps)


def test_a_warm_process_is_found_by_its_parent_and_killed_alone(tmp_path: Path) -> None:
    lab = f"{PREFIX}warmth-{os.getpid()}"
    mother = (
        "import subprocess, sys, time\n"
        "command = ['pipeline_queue: warm Python with', '-c', 'import time; time.sleep(600)']\n"
        "for _ in range(2): subprocess.Popen(command, executable=sys.executable, env={})\n"
        "time.sleep(600)"
    )
    machine = Machine(lab, "m1", tmp_path, (), {})
    parent = subprocess.Popen([sys.executable, "-c", mother], env={**os.environ, LAB: lab, MACHINE: "m1"})
    try:
        here = on_machine("m1")
        wait_until(lambda: len(processes(lab, here)) == 3, "both were started")
        machine.kill_warm_process()
        wait_until(lambda: len(processes(lab, here)) == 2, "one of them is dead")
        assert parent.poll() is None and machine.warm_kills == 1
    finally:
        end_all(lab)
        wait_for_end(parent)
    machine.kill_warm_process()
    assert machine.warm_kills == 1
    assert processes(lab) == []


def test_steps_that_were_started_cold_are_red_with_warm_steps() -> None:
    assert were_forked(played(STEP, STEP)).red == []
    assert were_forked(played(STEP, *[replace(STEP, forked=False)] * 2)).red
    assert were_forked(played()).red


def test_a_step_that_dies_with_a_warm_process_is_red() -> None:
    cut = replace(STEP, ended=False)
    other = replace(cut, machine="m2")

    def red(one: Execution, kind: str) -> list[str]:
        return outlived_warm_processes(played(one, faults=((Fault(1.0, kind, "m1"), 11.0),))).red

    assert red(cut, KILL)
    assert not red(STEP, KILL) and not red(other, KILL) and not red(cut, "kill worker")
