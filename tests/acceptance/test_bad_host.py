"""One bad host does not eat a sweep: its wasted attempts are few, count for nothing, and others do the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract.records import StepRecord
from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder
from tests.own_interpreter import exit_0, exit_1, forbid, lack_a_library, make_interpreter, vanish

MAX_WASTED = 5
RUNS = 60
TRAIN = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - train:
        run: train.py
        args: ${{ parameters.n }}
        retries: RETRIES
"""
SHARED = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - prepare:
        run: prepare.py
    - train:
        run: train.py
        args: ${{ parameters.n }}
"""
# Written as it ends well, outside of the storage: by whose interpreter.
SCRIPT = """\
import os, pathlib, sys, time
HEAD
time.sleep(0.2)
with open("WITNESS", "a") as file:
    file.write(f"{sys.argv[-1]} {sys.prefix}\\n")
pathlib.Path("model").write_text(sys.argv[-1])
"""


@pytest.fixture
def bad_python(tmp_path: Path) -> Path:
    return make_interpreter(tmp_path / "bad-host")


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    def make(pipeline: str = TRAIN, head: str = "", retries: int = 0, **files: str) -> Path:
        script = SCRIPT.replace("HEAD", head).replace("WITNESS", str(tmp_path / "witness"))
        (tmp_path / "witness").touch()
        text = pipeline.replace("RETRIES", str(retries))
        return write_folder(tmp_path / "project", pipeline_yaml=text, train_py=script, **files)

    return make


def _start_both(cluster: Cluster, bad_python: Path) -> None:
    cluster.start_worker("--concurrency", "2", name="good")
    cluster.start_worker("--concurrency", "2", name="bad", python=bad_python)


def _submit(cluster: Cluster, folder: Path, *words: str, runs: int = RUNS) -> str:
    shell = cluster.shell(folder)
    return shell("sweep", "pipeline.yaml", "-p", f"n=range(0,{runs})", "--detach", *words).stdout.strip()


def _witnessed(folder: Path) -> list[tuple[str, str]]:
    """Run and prefix of each execution that ended well."""
    lines = (folder.parent / "witness").read_text().splitlines()
    return [(run, prefix) for run, _, prefix in (line.partition(" ") for line in lines)]


def _when_bad_has_worked(folder: Path, bad_python: Path) -> None:
    prefix = str(bad_python.parent.parent)
    wait_until(lambda: any(one == prefix for _, one in _witnessed(folder)), "the host that goes bad does its share")


def _records(cluster: Cluster, sweep: str) -> list[StepRecord]:
    files = (cluster.settings.storage / "sweeps" / sweep).rglob("step.json")
    return [StepRecord.model_validate_json(file.read_bytes()) for file in files]


def _wasted(cluster: Cluster, sweep: str) -> list[StepRecord]:
    """Attempts whose process failed on the bad host, or could not be started there."""
    return [
        record for record in _records(cluster, sweep) if record.worker == "bad@test" and record.state != "succeeded"
    ]


def _holds(cluster: Cluster, worker: str) -> tuple[str, ...]:
    return next((one.holds for one in cluster.client.workers() if one.name == f"{worker}@test"), ())


def _counts(cluster: Cluster, sweep: str) -> dict[str, Any]:
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    return {name: count for name, count in report.counts.items() if count}


@pytest.mark.parametrize(
    ("breaks", "retries"), [(vanish, 0), (exit_1, 3), (exit_0, 0), (lack_a_library, 0), (forbid, 0)]
)
def test_an_interpreter_that_stops_working_in_mid_sweep_fails_no_run(
    cluster: Cluster, bad_python: Path, project: Callable[..., Path], breaks: Callable[[Path], None], retries: int
) -> None:
    folder = project(retries=retries)
    _start_both(cluster, bad_python)
    sweep = _submit(cluster, folder)
    _when_bad_has_worked(folder, bad_python)
    breaks(bad_python)
    hold = wait_until(lambda: _holds(cluster, "bad"), "the worker pauses")
    assert f"the interpreter {bad_python} does not work" in hold[0]
    shell = cluster.shell(folder)
    assert f"bad@test takes no steps: the interpreter {bad_python}" in shell("status", sweep).stderr
    assert "the interpreter" in shell("doctor", exit_code=None).stdout
    assert _counts(cluster, sweep) == {"succeeded": RUNS}
    assert len(_wasted(cluster, sweep)) <= MAX_WASTED
    assert sorted(int(run) for run, _ in _witnessed(folder)) == list(range(RUNS))


def test_a_worker_takes_steps_again_when_its_environment_is_restored(
    cluster: Cluster, bad_python: Path, project: Callable[..., Path]
) -> None:
    folder = project()
    _start_both(cluster, bad_python)
    sweep = _submit(cluster, folder)
    _when_bad_has_worked(folder, bad_python)
    home = bad_python.parent.parent
    home.rename(home.with_name("removed"))
    wait_until(lambda: _holds(cluster, "bad"), "the worker pauses")
    assert _counts(cluster, sweep) == {"succeeded": RUNS}
    assert len(_wasted(cluster, sweep)) <= MAX_WASTED
    home.with_name("removed").rename(home)
    wait_until(lambda: not _holds(cluster, "bad"), "the worker takes steps again")
    (folder.parent / "witness").write_text("")
    again = _submit(cluster, folder)
    _when_bad_has_worked(folder, bad_python)
    assert _counts(cluster, again) == {"succeeded": RUNS}
    assert not _wasted(cluster, again)


def test_the_only_worker_waits_for_its_interpreter_instead_of_failing_the_runs(
    cluster: Cluster, bad_python: Path, project: Callable[..., Path]
) -> None:
    folder = project()
    cluster.start_worker("--concurrency", "2", name="bad", python=bad_python)
    aside = bad_python.with_name("aside")
    bad_python.rename(aside)
    sweep = _submit(cluster, folder, runs=6)
    wait_until(lambda: _holds(cluster, "bad"), "the worker pauses")
    aside.rename(bad_python)
    assert _counts(cluster, sweep) == {"succeeded": 6}
    assert len(_wasted(cluster, sweep)) <= MAX_WASTED


@pytest.mark.parametrize(
    "head",
    [
        'if "bad-host" in sys.prefix: os._exit(1)',
        'if "bad-host" in sys.prefix: raise ModuleNotFoundError("No module named \'numpy\'")',
    ],
    ids=["silent", "import"],
)
def test_a_host_that_lacks_what_steps_need_is_left_out_and_tried_again(
    cluster: Cluster, bad_python: Path, project: Callable[..., Path], head: str
) -> None:
    """Its interpreter works: only that others do what failed here shows that the host is to blame."""
    folder = project(head=head)
    _start_both(cluster, bad_python)
    sweep = _submit(cluster, folder)
    hold = wait_until(lambda: _holds(cluster, "bad"), "the worker pauses")
    assert "3 runs in a row failed here at once" in hold[0]
    assert "other workers do them, and this one tries again after" in hold[0]
    assert _counts(cluster, sweep) == {"succeeded": RUNS}
    assert len(_wasted(cluster, sweep)) <= MAX_WASTED
    wait_until(lambda: not _holds(cluster, "bad"), "the worker is tried again")


@pytest.mark.parametrize("retries", [0, 1])
def test_a_sweep_whose_steps_fail_at_once_everywhere_ends_as_failed_and_pauses_nobody(
    cluster: Cluster, project: Callable[..., Path], retries: int
) -> None:
    folder = project(head="os._exit(3)", retries=retries)
    cluster.start_worker("--concurrency", "2", name="one")
    cluster.start_worker("--concurrency", "2", name="two")
    sweep = _submit(cluster, folder, runs=30)
    report = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert report.counts["failed"] == 30
    assert [cause.text for cause in report.failures] == ["step train failed with exit code 3"]
    wait_until(lambda: not _holds(cluster, "one") and not _holds(cluster, "two"), "both take steps", 10.0)


def test_on_the_only_worker_steps_that_fail_at_once_are_executed_once(
    cluster: Cluster, project: Callable[..., Path]
) -> None:
    folder = project(head="os._exit(3)")
    cluster.start_worker("--concurrency", "2", name="one")
    sweep = _submit(cluster, folder, runs=10)
    assert _counts(cluster, sweep) == {"failed": 10}
    assert len(list((cluster.settings.storage / "sweeps" / sweep).rglob("step.json"))) == 10
    assert not _holds(cluster, "one")


def test_a_shared_step_that_failed_once_is_tried_elsewhere_before_it_fails_everybody(
    cluster: Cluster, tmp_path: Path, project: Callable[..., Path]
) -> None:
    """It said why it failed: only that many runs wait for it is a reason to try again."""
    prepare = (
        f'import pathlib, sys\nprint("preparing", flush=True)\nfirst = pathlib.Path("{tmp_path}/first")\n'
        'if not first.exists():\n    first.touch()\n    sys.exit("the disk of this host is odd")\n'
        'pathlib.Path("data").touch()\n'
    )
    folder = project(pipeline=SHARED, prepare_py=prepare)
    cluster.start_worker("--concurrency", "2", name="one")
    cluster.start_worker("--concurrency", "2", name="two")
    sweep = _submit(cluster, folder, runs=20)
    assert _counts(cluster, sweep) == {"succeeded": 20}
    records = {record.uid: record for record in _records(cluster, sweep) if record.step == "prepare"}.values()
    assert {(record.state, record.is_handed_on) for record in records} == {("retrying", True), ("succeeded", False)}
    assert len({record.worker for record in records}) == 2


def test_a_retry_goes_to_another_host(cluster: Cluster, bad_python: Path, project: Callable[..., Path]) -> None:
    head = 'if "bad-host" in sys.prefix: sys.exit("a bad day")'
    folder = project(head=head, retries=1)
    _start_both(cluster, bad_python)
    sweep = _submit(cluster, folder, runs=20)
    assert _counts(cluster, sweep) == {"succeeded": 20}
    assert _wasted(cluster, sweep), "the bad host did not take part"
