"""`status --follow`: lines in a pipe, a redrawn screen in a terminal, and the exit code of what was followed."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, wait_until, write_folder
from tests.first_hours.terminal import Terminal

PIPELINE = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - work: {run: work.sh, args: "${{ parameters.n }}"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Steps wait while there is a gate; number 9 fails."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    (tmp_path / "gate").touch()
    (folder / "work.sh").write_text(
        f'#!/bin/sh\nwhile [ -e "{tmp_path}/gate" ]; do sleep 0.05; done\n[ "$1" != 9 ] || exit 3\n'
    )
    (folder / "work.sh").chmod(0o755)
    return folder


def _sweep(cluster: Cluster, shell: Shell, values: str) -> str:
    sweep = shell("sweep", "pipeline.yaml", "-p", f"n={values}", "--detach").stdout.strip()
    wait_until(lambda: cluster.client.sweep(sweep).executing == 2, "two steps execute")
    return sweep


def _ended(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    out, err = process.communicate(timeout=GENEROUS_SECONDS)
    assert "Traceback" not in err, err
    return process.returncode, out.splitlines(), err


def test_in_a_pipe_each_change_is_one_line(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    sweep = _sweep(cluster, shell, "1,2,3")
    one, every, run, objects = (
        shell.start("status", *words)
        for words in ((sweep, "--follow"), ("--follow",), (f"{sweep}.0", "-f"), ("last", "--follow", "--json"))
    )
    assert one.stdout
    first = one.stdout.readline()
    assert first == f"{sweep} running: 2 running, 1 queued, 0/3 steps, 0/3 runs, 2 steps executing\n"
    (folder.parent / "gate").unlink()
    code, lines, _ = _ended(one)
    assert (code, lines[-1]) == (0, f"{sweep} succeeded: 3 succeeded")
    assert all(a != b for a, b in zip([first.strip(), *lines], lines, strict=False))
    assert _ended(every)[0] == 0
    code, lines, _ = _ended(run)
    assert (code, lines[-1]) == (0, f"{sweep}.0 succeeded")
    assert any(line.startswith(f"{sweep}.0 work succeeded after ") for line in lines)
    code, lines, _ = _ended(objects)
    assert (code, json.loads(lines[-1])["state"]) == (0, "succeeded")


def test_what_failed_ends_with_exit_code_1_also_when_it_had_ended_before(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    sweep = _sweep(cluster, shell, "8,9")
    processes = [shell.start("status", *words) for words in ((sweep, "--follow"), ("--follow",))]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline()
    (folder.parent / "gate").unlink()
    for process in processes:
        code, lines, _ = _ended(process)
        assert (code, lines[-1]) == (1, f"{sweep} failed: 1 succeeded, 1 failed")
    assert shell("status", sweep, "--follow", exit_code=1).stdout.startswith(f"{sweep} failed: ")
    assert shell("status", f"{sweep}.0", "--follow").stdout.endswith(f"{sweep}.0 succeeded\n")


@pytest.fixture
def terminal(cluster: Cluster, folder: Path) -> Iterator[Terminal]:
    terminal = Terminal(folder, 80, 24)
    for name, value in cluster.shell(folder).environment.items():
        if name.startswith("PIPELINE_QUEUE_"):
            terminal.run(f"export {name}={shlex.quote(value)}")
    terminal.run("clear")
    yield terminal
    terminal.close()


def test_a_terminal_is_redrawn_until_the_end_and_ctrl_c_leaves(
    cluster: Cluster, folder: Path, terminal: Terminal
) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    sweep = _sweep(cluster, shell, "1,2,3")
    before = len(terminal.exit_codes)
    terminal.start("pipeline-queue status last --follow")
    terminal.wait_for("2 steps executing")
    terminal.press("\x03")
    assert terminal.finish(before) == 130
    assert "unfinished runs continue" in "\n".join(terminal.lines())
    assert cluster.client.sweep(sweep).state == "running"
    for words, seen in (("--follow", "2 running"), (f"{sweep} --follow", "2 steps executing")):
        terminal.run("clear")
        before = len(terminal.exit_codes)
        terminal.start(f"pipeline-queue status {words}")
        terminal.wait_for(seen)
        shell("pause", sweep)
        terminal.wait_for("pausing")
        shell("resume", sweep)
        terminal.wait(lambda: "pausing" not in "\n".join(terminal.lines()), "it continues")
        if words == "--follow":
            terminal.press("\x03")
            terminal.finish(before)
    (folder.parent / "gate").unlink()
    assert terminal.finish(before) == 0
    shown = "\n".join(terminal.lines())
    assert f"sweep {sweep} succeeded: 3 runs" in shown
    assert "executing" not in shown, "what was drawn before is gone"
