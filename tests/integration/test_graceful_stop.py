"""A worker that is told to stop: takes nothing more, waits its grace, and hands back what still runs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_queue.index.connection import connect
from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder
from workers.agents.admission import Admission


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """A line for each execution: which run began, and `end` of those that came to their end."""
    path = tmp_path / "witness"
    path.touch()
    return path


def _submit(cluster: Cluster, folder: Path, witness: Path, gate: Path, runs: int = 1) -> list[str]:
    code = (
        f"import os, time\nwrite = lambda text: open({str(witness)!r}, 'a').write(text)\n"
        "run = os.environ['PIPELINE_QUEUE_RUN_ID']\nwrite(run + '\\n')\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\nwrite('end ' + run + '\\n')\n"
    )
    write_folder(folder, one_py=code, pipeline_yaml="pipeline:\n  steps:\n  - one: {run: one.py}\n")
    loaded = cluster.client.load(folder / "pipeline.yaml")
    return [cluster.client.submit(loaded) for _ in range(runs)]


def _lines(witness: Path) -> list[str]:
    return witness.read_text().splitlines()


def test_a_stopping_worker_takes_nothing_more_and_finishes_what_it_runs(
    cluster: Cluster, tmp_path: Path, witness: Path
) -> None:
    gate = tmp_path / "gate"
    runs = _submit(cluster, tmp_path / "project", witness, gate, runs=6)
    worker = cluster.start_worker()
    wait_until(lambda: len(_lines(witness)) == 2, "both slots run")
    worker.send_signal(signal.SIGTERM)
    log = tmp_path / "worker-one.log"
    wait_until(lambda: "take no steps: it was told to stop" in log.read_text(), "it was told")
    redis = connect(cluster.settings.broker_url)
    # What it had asked for before came back.
    lists = ["default", *(f"default\x06\x16{priority}" for priority in (3, 6, 9))]
    wait_until(lambda: sum(redis.llen(name) for name in lists) == 4, "the others are on the queue")
    gate.touch()
    assert worker.wait(GENEROUS_SECONDS) == 0
    begun = [line for line in _lines(witness) if not line.startswith("end ")]
    assert len(begun) == 2 and sorted(_lines(witness)) == sorted([*begun, *(f"end {run}" for run in begun)])
    assert [cluster.client.run(run).state for run in begun] == ["succeeded", "succeeded"]
    redis.close()
    cluster.start_worker(name="two")
    assert [cluster.client.wait(run, GENEROUS_SECONDS).state for run in runs] == ["succeeded"] * 6
    assert len(_lines(witness)) == 12, "each ran once"


def test_after_the_grace_steps_are_handed_back_and_count_for_nothing(
    cluster: Cluster, tmp_path: Path, witness: Path, record_property: Callable[[str, object], None]
) -> None:
    """Four stops: more than the deaths that a step is given up after."""
    gate = tmp_path / "gate"
    cluster.settings = replace(cluster.settings, stop_grace_seconds=1.0)
    (run,) = _submit(cluster, tmp_path / "project", witness, gate)
    redis = connect(cluster.settings.broker_url)
    busy = cluster.start_worker("--concurrency", "1", name="0")
    wait_until(lambda: len(_lines(witness)) == 1, "it runs")
    for number in range(1, 5):
        following = cluster.start_worker("--concurrency", "1", name=str(number))
        busy.send_signal(signal.SIGTERM)
        told = time.monotonic()
        wait_until(lambda number=number: len(_lines(witness)) == number + 1, "it runs elsewhere")
        record_property("seconds_until_restarted", time.monotonic() - told)
        assert busy.wait(GENEROUS_SECONDS) == 0
        assert redis.hmget(f"pq1:run:{run}", "one|deaths", "one|failures") == ["0", "0"]
        busy = following
    gate.touch()
    report = cluster.client.wait(run, GENEROUS_SECONDS)
    assert (report.state, len(_lines(witness))) == ("succeeded", 6)
    redis.close()


def test_a_step_that_is_handed_back_gets_term_first(cluster: Cluster, tmp_path: Path, witness: Path) -> None:
    """Time to write down how far it came; whatever it exits with then, it is not over."""
    cluster.settings = replace(cluster.settings, stop_grace_seconds=0.0)
    code = (
        f"import os, signal, sys, time\nwrite = lambda text: open({str(witness)!r}, 'a').write(text)\n"
        "def told(*_): write('told\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, told)\nwrite('begun\\n')\n"
        f"while not os.path.exists({str(tmp_path / 'gate')!r}): time.sleep(0.01)\n"
    )
    folder = write_folder(
        tmp_path / "project", one_py=code, pipeline_yaml="pipeline:\n  steps:\n  - one: {run: one.py}\n"
    )
    worker = cluster.start_worker()
    run = cluster.client.submit(cluster.client.load(folder / "pipeline.yaml"))
    wait_until(lambda: _lines(witness) == ["begun"], "it runs")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(GENEROUS_SECONDS) == 0
    assert _lines(witness) == ["begun", "told"]
    report = cluster.client.run(run)
    assert (report.state, report.steps[0].state) == ("running", "retrying")
    (tmp_path / "gate").touch()
    cluster.start_worker(name="two")
    assert cluster.client.wait(run, GENEROUS_SECONDS).state == "succeeded"


def test_several_deaths_in_a_row_close_a_worker_and_a_step_that_ends_forgives_them() -> None:
    admission = Admission()
    for number in range(4):
        admission.note_death(f"run {number}", "no process could be started")
    admission.note_end()
    for _ in range(20):
        admission.note_death("one and the same", "it kills its supervisor")
    assert admission.is_open()
    for number in range(4):
        admission.note_death(f"run {number}", "no process could be started")
    assert not admission.is_open()
    assert "5 steps in a row" in admission.reasons()[0] and "no process could be started" in admission.reasons()[0]
