"""The command line as a user meets it: words, exit codes, JSON keys, and no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, plain_environment, wait_until, write_folder
from tests.limits import signal_process


def _processes_of(folder: Path) -> list[int]:
    """Every process that was told of the folder, seen from outside."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder).encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_run_json_has_the_documented_keys_and_status_prints_the_same(shell: Shell) -> None:
    report = shell.json("run", "pipeline.yaml", "-p", "learning_rate=1e-2", "--json")
    assert {"sweep", "run", "state", "parameters", "steps"} <= report.keys()
    assert report["parameters"] == {"learning_rate": 0.01}
    step = report["steps"][0]
    assert {"name", "state", "attempts", "exit_code", "seconds", "outputs", "log"} <= step.keys()
    assert (step["name"], step["state"], step["attempts"], step["exit_code"]) == ("train_model", "succeeded", 1, 0)
    assert sorted(path.name for path in Path(step["outputs"]).iterdir()) == ["metrics.json", "model.json"]
    assert Path(step["log"]).read_text() == 'received ["--lr", "0.01"]\n'
    for name in (report["run"], report["sweep"], "last", report["sweep"].rpartition("-")[2]):
        assert shell.json("status", name, "--json") == report


def test_run_cleans_up_every_process_it_started(shell: Shell) -> None:
    shell("run", "pipeline.yaml", "-p", "learning_rate=0.01")
    data = shell.folder / "pipeline-queue-data"
    wait_until(lambda: not _processes_of(data), "nothing of the service lives")
    assert not (data / "service.json").exists()
    scratch = Path(shell.environment["PIPELINE_QUEUE_SCRATCH"])
    assert list((scratch / "work").iterdir()) == []


def test_a_failed_run_exits_1_and_names_cause_log_and_last_lines(shell: Shell) -> None:
    (shell.folder / "train.py").write_text("print('about to fail'); raise SystemExit(4)")
    done = shell("run", "pipeline.yaml", "-p", "learning_rate=0.01", exit_code=1)
    assert "step train_model failed with exit code 4" in done.stderr
    assert "about to fail" in done.stderr
    log = done.stderr.partition("full log: ")[2].strip()
    assert Path(log).read_text() == "about to fail\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "absent.yaml"], "absent.yaml"),
        (["run", "pipeline.yaml", "-p", "learning_rate"], "expected NAME=VALUE"),
        (["run", "pipeline.yaml", "-p", "learning_rate=nan"], "learning_rate"),
        (["run", "pipeline.yaml", "-p", "learning_rate=1", "-p", "learning_rate=2"], "given twice"),
        (["run", "pipeline.yaml", "-p", "learning_rat=1"], "did you mean"),
        (["status", "nope"], "no run"),
        (["logs", "../../etc/passwd"], "no run"),
        (["trace", "x" * 5000], "no run"),
        (["outputs", "last"], "no runs yet"),
        (["statsu"], "Did you mean 'status'"),
        (["cancel"], "Missing argument"),
        (["run", "pipeline.yaml", "--params-file", "absent.yaml"], "absent.yaml"),
    ],
)
def test_bad_input_exits_2_with_a_plain_text_and_writes_nothing(shell: Shell, words: list[str], expected: str) -> None:
    done = shell(*words, exit_code=2)
    assert expected.lower() in done.stderr.lower()
    assert done.stdout == ""
    assert sorted(path.name for path in shell.folder.iterdir()) == ["pipeline.yaml", "train.py"]


def test_every_error_of_a_file_is_told_at_once_with_its_place(shell: Shell) -> None:
    (shell.folder / "bad.yaml").write_text(
        "pipeline:\n  parameters:\n    - name: lr\n      type: flaot\n  steps:\n    - a: {runn: x.py}\n"
        "    - b: {run: echo, args: '${{ parameters.rl }}', timeout: soon}\n"
    )
    lines = shell("validate", "bad.yaml", exit_code=2).stderr.splitlines()
    places = [line.split()[1] for line in lines]
    assert [place.rsplit(":", 3)[1] for place in places] == sorted(place.rsplit(":", 3)[1] for place in places)
    assert {"bad.yaml:4:13:", "bad.yaml:6:11:", "bad.yaml:7:29:"} <= set(places), lines
    problems = shell.json("validate", "bad.yaml", "--json", exit_code=2)["problems"]
    assert len(problems) == len(lines) and all(one["line"] and one["column"] for one in problems)


def test_an_unreachable_broker_exits_3_and_leaves_nothing(seed_folder: Path, tmp_path: Path) -> None:
    environment = plain_environment(
        PIPELINE_QUEUE_BROKER_URL=f"redis+socket://:secret@{tmp_path}/nobody-listens", PIPELINE_QUEUE_STORAGE=str(tmp_path / "s")
    )  # fmt: skip
    shell = Shell(seed_folder, environment)
    for words in (["run", "pipeline.yaml", "-p", "learning_rate=1"], ["doctor"]):
        done = shell(*words, exit_code=3)
        assert "cannot be reached" in done.stderr + done.stdout
        assert "secret" not in done.stderr + done.stdout
    assert not (tmp_path / "s" / "sweeps").exists() or not list((tmp_path / "s" / "sweeps").iterdir())


def test_a_storage_that_cannot_be_made_exits_3(cluster: Cluster, seed_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    shell = cluster.shell(seed_folder)
    shell.environment["PIPELINE_QUEUE_STORAGE"] = str(tmp_path / "file" / "storage")
    cluster.start_worker()
    assert "storage" in shell("run", "pipeline.yaml", "-p", "learning_rate=1", exit_code=3).stderr


def test_a_worker_without_settings_says_which(tmp_path: Path) -> None:
    for command in (["-m", "celery", "-A", "workers", "worker"], ["-m", "pipeline_queue", "worker"]):
        done = subprocess.run(
            [sys.executable, *command], env=plain_environment(), cwd=tmp_path, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 2
        assert "PIPELINE_QUEUE_BROKER_URL" in done.stderr and "Traceback" not in done.stderr


def test_detach_returns_at_once_and_the_run_ends_by_itself(shell: Shell) -> None:
    run = shell("run", "pipeline.yaml", "-p", "learning_rate=0.5", "--detach").stdout.strip()
    wait_until(lambda: shell.json("status", run, "--json")["state"] == "succeeded", "the run ends")
    wait_until(lambda: not _processes_of(shell.folder / "pipeline-queue-data"), "the service ends")


def test_up_serves_runs_until_it_is_told_to_stop(shell: Shell) -> None:
    up = shell.start("up", "--flower-port", "0", "--slots", "2")
    try:
        assert up.stderr is not None
        lines = iter(up.stderr.readline, "")
        flower = next(line for line in lines if "Flower" in line)
        assert "http://me:" in flower and "127.0.0.1" in flower
        report = shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.5", "--json")
        assert report["state"] == "succeeded"
        assert up.poll() is None
        checks = {check["name"]: check["state"] for check in shell.json("doctor", "--json")["checks"]}
        assert checks["broker"] == checks["queues"] == checks["storage"] == "ok"
        assert "already" in shell("up", exit_code=2).stderr
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=GENEROUS_SECONDS) == 0
    finally:
        if up.poll() is None:
            up.kill()
        up.communicate(timeout=GENEROUS_SECONDS)
    assert not _processes_of(shell.folder / "pipeline-queue-data")


def test_what_a_killed_service_left_unfinished_goes_on_with_the_next(shell: Shell) -> None:
    gate = shell.folder.parent / "gate"
    (shell.folder / "train.py").write_text(
        f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)\nopen('done', 'w')\n"
    )
    run = shell("run", "pipeline.yaml", "-p", "learning_rate=0.5", "--detach").stdout.strip()
    wait_until(lambda: shell.json("status", run, "--json")["steps"][0]["state"] == "running", "the step runs")
    note = json.loads((shell.folder / "pipeline-queue-data" / "service.json").read_text())
    signal_process(note["pid"], signal.SIGKILL)
    wait_until(lambda: not _processes_of(shell.folder / "pipeline-queue-data"), "all of the service is gone")
    gate.touch()
    shell("run", "pipeline.yaml", "-p", "learning_rate=0.6")
    wait_until(lambda: shell.json("status", run, "--json")["state"] == "succeeded", "the first run ends")


def test_outputs_are_listed_and_copied_to_a_new_folder_only(shell: Shell) -> None:
    run = shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.5", "--json")["run"]
    assert [Path(line).name for line in shell("outputs", run).stdout.split()] == ["metrics.json", "model.json"]
    shell("outputs", run, "copy")
    assert sorted(path.name for path in (shell.folder / "copy" / "train_model").iterdir()) == [
        "metrics.json",
        "model.json",
    ]
    assert "already exists" in shell("outputs", run, "copy", exit_code=2).stderr


def test_logs_of_one_step_are_the_bytes_alone(shell: Shell) -> None:
    run = shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.5", "--json")["run"]
    assert shell("logs", run, "train_model").stdout == 'received ["--lr", "0.5"]\n'
    assert "its steps are train_model" in shell("logs", run, "nope", exit_code=2).stderr


def test_two_shells_submit_the_same_file_at_the_same_moment_50_times(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "project",
        pipeline_yaml="pipeline:\n  parameters:\n  - {name: x, type: int}\n  steps:\n"
        "  - one: {run: one.sh, args: '${{ parameters.x }} ${{ run.id }}'}\n",
    )
    (folder / "one.sh").write_text('#!/bin/sh\nprintf %s "$*" > out\n')
    (folder / "one.sh").chmod(0o755)
    cluster.start_worker()
    shells = [cluster.shell(folder), cluster.shell(folder)]
    runs: dict[str, int] = {}
    for round_number in range(50):
        processes = [
            shell.start("run", "pipeline.yaml", "-p", f"x={round_number * 2 + side}", "--detach")
            for side, shell in enumerate(shells)
        ]
        for side, process in enumerate(processes):
            out, err = process.communicate(timeout=GENEROUS_SECONDS)
            assert process.returncode == 0, err
            runs[out.strip()] = round_number * 2 + side
    assert len(runs) == 100
    for run, value in runs.items():
        report = cluster.client.wait(run, GENEROUS_SECONDS)
        assert (report.state, report.steps[0].attempts) == ("succeeded", 1)
        assert (cluster.client.outputs(run)["one"] / "out").read_text() == f"{value} {run}"
    assert {report.run for report in cluster.client.runs()} == set(runs)


def test_two_embedded_runs_in_one_folder_share_a_service(shell: Shell) -> None:
    processes = [
        shell.start("run", "pipeline.yaml", "-p", f"learning_rate={value}", "--json") for value in (0.1, 0.2, 0.3)
    ]
    reports = []
    for process in processes:
        out, err = process.communicate(timeout=GENEROUS_SECONDS)
        assert process.returncode == 0, err
        reports.append(json.loads(out))
    assert sorted(report["parameters"]["learning_rate"] for report in reports) == [0.1, 0.2, 0.3]
    assert len({report["run"] for report in reports}) == 3
    wait_until(lambda: not _processes_of(shell.folder / "pipeline-queue-data"), "the service ends")


_IMPORTS = """
import os, sys
words, heavy = sys.argv[1:3]
sys.argv = ["pipeline-queue", *words.split()]
def told(code):
    sys.stdout.flush()
    print(sorted({*heavy.split()} & set(sys.modules)), file=sys.stderr, flush=True)
    leave(code)
leave, os._exit = os._exit, told
from pipeline_queue.cli import main
try: main()
finally: told(0)
"""


def _imported(words: str, heavy: str, folder: Path) -> tuple[str, str]:
    """What the command printed, and which of the heavy packages it imported."""
    command = [sys.executable, "-c", _IMPORTS, words, heavy]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.strip().splitlines()[-1]


def test_help_answers_without_importing_anything_heavy(tmp_path: Path) -> None:
    out, imported = _imported("--help", "celery kombu pydantic redis rich yaml", tmp_path)
    assert "Exit codes" in out and imported == "[]"


def test_reading_what_has_ended_imports_neither_celery_nor_redis_nor_yaml(shell: Shell) -> None:
    shell("sweep", "pipeline.yaml", "-p", "learning_rate=0.1,0.2")
    for words in ("status", "list", "status last", "results last", "logs last.0", "trace last.0"):
        out, imported = _imported(words, "celery kombu redis yaml", shell.folder)
        assert out and (words, imported) == (words, "[]")
