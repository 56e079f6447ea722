"""`preload` on the real thing: real server, real workers, real commands."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.conftest import Cluster, wait_until, write_folder
from tests.limits import signal_process

PIPELINE = """\
pipeline:
  name: warm
  preload: [fractions, decimal]
  parameters:
    - {name: n, type: int}
  steps:
    - first:
        run: first.py
        reuse: never
        args: --n ${{ parameters.n }}
        env: {N: "${{ parameters.n }}"}
    - second: {run: second.py, reuse: never}
    - third: {run: "true"}
"""
FIRST = """\
import os, sys, json, fractions
assert sys.modules["decimal"]
json.dump({"argv": sys.argv, "n": os.environ["N"], "run": os.environ["PIPELINE_QUEUE_RUN_ID"]}, open("first.json", "w"))
"""
SECOND = """\
import json
json.dump({"n": int(json.load(open("first.json"))["n"])}, open("metrics.json", "w"))
"""
HANGS = """\
import os, pathlib, subprocess, sys, time
once = pathlib.Path(os.environ["ONCE"])
if not once.exists():
    once.touch()
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    time.sleep(1000)
print("second time")
"""


def test_a_sweep_is_forked_and_status_and_doctor_say_so(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, first_py=FIRST, second_py=SECOND)
    cluster.start_worker()
    shell = cluster.shell(folder)
    report = shell.json("sweep", "pipeline.yaml", "-p", "n=range(1,21,1)", "--json")
    assert report["counts"]["succeeded"] == 20, report
    rows = shell.json("results", "last", "--json")["rows"]
    assert [row["metrics"]["n"] for row in rows] == [row["parameters"]["n"] for row in rows]
    (worker,) = wait_until(
        lambda: [one for one in cluster.client.workers() if one.warm.forked == 40], "the worker says what it forked"
    )
    assert (worker.warm.processes, worker.warm.cold) == (1, 0)
    assert worker.warm.shared_bytes > 0
    assert "warm Python: 1 warm process, 40 steps forked; " in shell("doctor").stdout
    assert "warm Python: 1 warm process, 40 steps forked; " in shell("status").stdout
    assert shell.json("status", "--json")["warm_python"]["forked"] == 40


def test_a_cold_start_is_noted_and_a_neighbour_of_the_same_name_wins(cluster: Cluster, tmp_path: Path) -> None:
    second = "import bdb; assert bdb.OWN; open('seen', 'w').close()"
    files = {"pipeline_yaml": PIPELINE.replace("fractions, decimal", "pdb"), "bdb_py": "OWN = True"}
    folder = write_folder(tmp_path / "project", **files, first_py="", second_py=second)
    worker = cluster.start_worker()
    shell = cluster.shell(folder)
    run = shell.json("run", "pipeline.yaml", "-p", "n=1", "--json")
    assert run["state"] == "succeeded", run
    manifest = json.loads((Path(run["steps"][1]["outputs"]).parent / "step.json").read_text())
    why = "started cold: bdb.py beside the script hides a module that is loaded already"
    assert manifest["notes"] == [why]
    log = (cluster.settings.storage.parent / "worker-one.log").read_text()
    assert log.count(why) == 1, log
    assert worker.poll() is None
    wait_until(lambda: why in shell("doctor").stdout, "doctor says why")


def test_a_killed_workers_forked_step_ends_and_another_worker_does_it_again(cluster: Cluster, tmp_path: Path) -> None:
    once = tmp_path / "once"
    text = PIPELINE.replace("env: {N:", f"env: {{ONCE: {once}, N:")
    folder = write_folder(tmp_path / "project", pipeline_yaml=text, first_py=HANGS, second_py="")
    first = cluster.start_worker()
    shell = cluster.shell(folder)
    with shell.start("run", "pipeline.yaml", "-p", "n=1", "--json") as running:
        wait_until(once.exists, "the step runs")
        wait_until(lambda: len(_of(once)) == 2, "its child runs")
        signal_process(first.pid, signal.SIGKILL)
        wait_until(lambda: not _of(once), "nothing of the step lives")
        cluster.start_worker(name="two")
        out, err = running.communicate(timeout=120)
    report = json.loads(out)
    assert report["state"] == "succeeded", err
    assert "second time" in Path(report["steps"][0]["log"]).read_text()


def _of(once: Path) -> list[int]:
    """The steps' processes: those that carry this value and an attempt's marker."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(once).encode() in environment and b"PIPELINE_QUEUE_ATTEMPT=" in environment:
            found.append(int(entry.name))
    return found
