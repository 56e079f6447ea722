"""What a person sees in a terminal: true, whole and harmless, whatever runs wrote and whatever the terminal takes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GENEROUS_SECONDS, Shell, write_folder

SWEEP = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - train: {run: train.py, args: "${{ parameters.n }}"}
"""

TWO_CAUSES = """\
import sys
if int(sys.argv[1]) % 2:
    open("data/train.csv")
raise RuntimeError(f"CUDA out of memory. Tried to allocate {sys.argv[1]}.00 GiB")
"""

MANY = """\
pipeline:
  name: train
  parameters:
    - {name: learning_rate, type: float, default: 0.001}
    - {name: dataset, type: string, default: a-rather-long-name-of-a-data-set}
""" + "".join(f"    - {{name: parameter_{n}, type: int, default: {n}}}\n" for n in range(10)) + """\
  steps:
    - train: {run: train.py, args: "${{ parameters.learning_rate }}"}
"""  # fmt: skip

METRICS = "import json\njson.dump({f'metric_{n}': n / 7 for n in range(24)}, open('metrics.json', 'w'))\n"


def on_terminal(shell: Shell, columns: int, *words: str) -> str:
    """What a command prints to a terminal of that width."""
    master, slave = pty.openpty()
    environment = {**shell.environment, "COLUMNS": str(columns), "LINES": "24", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline_queue", *words], cwd=shell.folder, env=environment,
        stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    read = b""
    try:
        while block := os.read(master, 65536):
            read += block
    except OSError:
        pass  # the terminal is gone with the last process
    os.close(master)
    process.wait(timeout=GENEROUS_SECONDS)
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode())


@pytest.fixture
def failed(tmp_path: Path) -> Shell:
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=SWEEP, train_py=TWO_CAUSES))
    shell("sweep", "pipeline.yaml", "-p", "n=range(0,6)", "--name", "night", exit_code=1)
    return shell


def test_failures_are_told_by_cause_also_when_nothing_runs_any_more(failed: Shell) -> None:
    said = failed("status", "night").stdout
    assert "3 x step train failed with exit code 1: RuntimeError: CUDA out of memory. Tried to allocate N GiB" in said
    assert (
        "3 x step train failed with exit code 1: FileNotFoundError: [Errno N] No such file or directory: '<path>'"
        in said
    )
    groups = failed.json("status", "night", "--json")["failures"]
    assert [(group["count"], group["shared"]) for group in groups] == [(3, 0), (3, 0)]
    assert failed("results", "night").stdout.count(" x step train failed") == 2
    assert ".00 GiB)" in said and "No such file or directory: 'data/train.csv')" in said
    for group in groups:
        assert group["reason"] and group["reason"] != group["text"]
    assert failed.json("trace", "night.4", "--json")["rows"][-1]["effect"].endswith("Tried to allocate 4.00 GiB")
    for end in (failed.folder / "pipeline-queue-data" / "storage" / "sweeps").glob("*/end.json"):
        end.unlink()
    again = failed.json("status", "night", "--json")["failures"]
    assert [(group["text"], group["count"]) for group in again] == [(group["text"], group["count"]) for group in groups]


def test_one_failed_execution_that_others_share_is_told_so(tmp_path: Path) -> None:
    text = SWEEP.replace("    - train:", "    - prepare: {run: [sh, -c, 'echo no data; exit 1']}\n    - train:")
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=text, train_py=""))
    done = shell("sweep", "pipeline.yaml", "-p", "n=range(0,5)", exit_code=1)
    assert "5 x step prepare failed with exit code 1: no data: 1 executed, 4 share this failure" in done.stdout


def test_a_sweep_is_named_by_its_name_and_never_taken_for_its_first_run(failed: Shell) -> None:
    sweep = failed.json("status", "night", "--json")["sweep"]
    for words in (["logs", "night"], ["trace", "last"], ["explain", sweep, "train"], ["compare", "night", "night.1"]):
        said = failed(*words, exit_code=2).stderr
        assert f"{sweep} is a sweep of 6 runs; name one of them: {sweep}.0 to {sweep}.5" in said
    assert "CUDA" in failed("logs", "night.4").stdout
    assert "of 6 runs copied" in failed("outputs", "night", "got").stdout
    assert "pipeline-queue-data" in failed("outputs", "nobody", exit_code=2).stderr
    assert failed("forget", "night", "--yes").stdout.startswith(f"deleted {sweep}")


def test_outputs_of_a_sweep_are_those_of_all_its_runs(tmp_path: Path) -> None:
    script = "import sys\nopen('out.txt', 'w').write(sys.argv[1])\n"
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=SWEEP, train_py=script))
    shell("sweep", "pipeline.yaml", "-p", "n=7,8,9")
    assert shell("outputs", "last", "got").stdout == "3 files of 3 runs copied to got\n"
    found = {
        str(path.relative_to(shell.folder / "got")): path.read_text()
        for path in (shell.folder / "got").rglob("out.txt")
    }
    assert found == {"0/train/out.txt": "7", "1/train/out.txt": "8", "2/train/out.txt": "9"}
    assert len(shell("outputs", "last").stdout.splitlines()) == 3
    assert [run["run"][-2:] for run in shell.json("outputs", "last", "--json")["runs"]] == [".0", ".1", ".2"]


def test_status_shows_name_state_and_age_whole_at_any_width(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=MANY, train_py=METRICS))
    runs = []
    for rate in ("0.1", "0.2"):
        shell("run", "pipeline.yaml", "-p", f"learning_rate={rate}")
        runs.append(shell.json("status", "last", "--json")["run"])
    for columns in (40, 80, 120, 200):
        head, *lines = on_terminal(shell, columns, "status").splitlines()
        assert head.split()[:3] == ["run", "state", "age"]
        for run, line in zip(reversed(runs), lines, strict=True):
            assert (line.startswith(f"{run}  succeeded  ") and " ago" in line) or "just now" in line
            assert len(line) <= max(columns, 45)
    assert "learning_rate=0.2 metric_0=0" in on_terminal(shell, 80, "status") and "more" in on_terminal(
        shell, 80, "status"
    )
    piped = shell("status").stdout
    assert "parameter_9=9" in piped and "metric_23=" in piped


HOSTILE = """\
import json, sys
print("x" * 20000)
open("\\x1b[2Jname.txt", "w")
json.dump({"\\x1b]0;title\\x07loss": 1.0}, open("metrics.json", "w"))
print("\\x1b]0;title\\x07\\x1b[2J\\x1b[31mred \\u202etxt\\x9b31m")
sys.exit(sys.argv[1] == "1" and "failed")
"""


def test_nothing_that_a_run_wrote_does_anything_to_the_terminal(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=SWEEP, train_py=HOSTILE))
    shell("sweep", "pipeline.yaml", "-p", "n=0,1", exit_code=1)
    commands = [["status"], ["status", "last"], ["status", "last.0"], ["status", "last.1"], ["trace", "last.0", "last.1"],
                ["compare", "last.0", "last.1"], ["explain", "last.1", "train"], ["outputs", "last"],
                ["outputs", "last", "--failed"], ["results", "last"], ["doctor"], ["status", "last.1", "--json"],
                ["results", "last", "--json"], ["outputs", "last", "--json"], ["trace", "last.1", "--json"]]  # fmt: skip
    for words in commands:
        done = shell(*words, exit_code=None)
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(done.stdout + done.stderr), words
        if "--json" not in words:
            assert max(map(len, (done.stdout + done.stderr).splitlines())) < 2000, words
    assert "\x1b[2J" in shell("logs", "last.1").stdout
    assert "\x1b" not in on_terminal(shell, 100, "results", "last", "--csv")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_stream_that_holds_few_characters_ends_no_command(tmp_path: Path, encoding: str) -> None:
    text = SWEEP.replace("{name: n, type: int}", "{name: n, type: string}")
    shell = Shell(
        write_folder(
            tmp_path / "project",
            pipeline_yaml=text,
            train_py="import os\nopen('日本.txt', 'w')\nos.write(1, 'ü 日本'.encode())\n",
        )
    )
    shell.environment["PYTHONIOENCODING"] = encoding
    run = ["run", "pipeline.yaml", "-p", "n=日本 " + "long " * 20]
    for words in (
        run,
        ["status"],
        ["status", "last"],
        ["outputs", "last"],
        ["trace", "last"],
        ["logs", "last"],
        ["compare", "last"],
    ):
        command = [sys.executable, "-m", "pipeline_queue", *words]
        done = subprocess.run(command, cwd=shell.folder, env=shell.environment, capture_output=True, check=False)
        assert done.returncode == 0 and b"Traceback" not in done.stderr, (words, done.stderr)


def test_a_closed_stream_ends_no_command(failed: Shell) -> None:
    command = f"{sys.executable} -m pipeline_queue"
    for line in (
        f"{command} status >&-",
        f"{command} status last 2>&-",
        f"{command} status | head -c 1",
        f"{command} logs night.1 >&-",
    ):
        done = subprocess.run(
            ["bash", "-c", line], cwd=failed.folder, env=failed.environment, capture_output=True, check=False
        )
        assert done.returncode == 0 and b"Traceback" not in done.stderr, (line, done.stderr)
