"""A short first hour in a real terminal of 80 columns: nothing wider, no traceback, every id whole.

`python -m tests.first_hours --out DIR` plays the long ones and keeps their screens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Shell
from tests.first_hours.hours import Desk, prepare, watch_a_while
from tests.first_hours.keeping import Screens
from tests.first_hours.terminal import Terminal

COLUMNS, ROWS = 80, 24


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    prepare(tmp_path)
    return Desk(tmp_path, Screens(tmp_path / "screens"), COLUMNS, ROWS)


@pytest.fixture
def terminal(desk: Desk) -> Iterator[Terminal]:
    with desk.terminal("flaky") as terminal:
        yield terminal


def _written(terminal: Terminal, command: str, exit_code: int = 0) -> str:
    """What a command wrote; no line of it is wider than the window but those with a path or a cause, to be copied."""
    since = terminal.mark()
    assert terminal.run(command) == exit_code, "\n".join(terminal.lines())
    wide = [line for line in terminal.wide_lines(since) if "/" not in line and " x step " not in line]
    assert wide == []
    return terminal.text(since)


def test_a_sweep_with_failures_reads_well_from_its_start_to_its_retry(desk: Desk, terminal: Terminal) -> None:
    shell = Shell(desk.folder / "flaky")
    healed = desk.folder / "healed"
    before, since = len(terminal.exit_codes), terminal.mark()
    terminal.start(f"pipeline-queue sweep pipeline.yaml -p lr=0.1,0.2 -p depth=2,3 -p healed={healed} --name night-1")
    watch_a_while(terminal, 0.5)
    assert terminal.finish(before) == 1
    sweep = shell.json("status", "last", "--json")["sweep"]
    assert "Traceback" not in terminal.text(since)
    assert sweep in "\n".join(terminal.lines())

    status = _written(terminal, "pipeline-queue status")
    assert re.search(rf"(^|\W)({sweep}|night-1)(\W|$)", status)
    assert "failed" in status
    whole = _written(terminal, f"pipeline-queue status {sweep}")
    assert sweep in whole
    assert "2 failed" in whole
    assert "Traceback" not in whole
    results = _written(terminal, "pipeline-queue results last --sort loss")
    assert re.findall(r"\d +(succeeded|failed) ", results).count("succeeded") == 2
    assert re.findall(r"\d +(succeeded|failed) ", results).count("failed") == 2

    healed.touch()
    assert "4 succeeded" in _written(terminal, "pipeline-queue retry last")
    states = [row["state"] for row in shell.json("results", "last", "--json")["rows"]]
    assert states == ["succeeded"] * 4


def test_what_a_step_prints_and_calls_its_metrics_moves_nothing_on_the_screen(desk: Desk) -> None:
    with desk.terminal("hostile") as terminal:
        for command in ("run pipeline.yaml -p text='two words'", "status", "status last", "trace last"):
            terminal.run("clear")
            terminal.start(f"pipeline-queue {command}")
            terminal.finish(len(terminal.exit_codes))
            assert terminal.lines()[0].startswith("$ pipeline-queue"), terminal.lines()


def test_all_mistakes_are_told_in_a_narrow_window_without_a_traceback(desk: Desk, terminal: Terminal) -> None:
    for command in (
        "run pipeline.yaml",
        "run pipeline.yaml -p lr=x -p deph=1",
        "run nothing.yaml",
        "status nothing",
        "sttus",
    ):
        since = terminal.mark()
        assert terminal.run(f"pipeline-queue {command}") == 2
        assert "Traceback" not in terminal.text(since)
        assert "rror:" in terminal.text(since)


def test_screens_are_kept_as_text(desk: Desk, terminal: Terminal) -> None:
    assert desk.see(terminal, "pipeline-queue validate pipeline.yaml --json | head -3", "validate") == 0
    kept = (desk.screens.folder / "01-validate.txt").read_text()
    assert json.dumps("ok") in kept
    assert max(map(len, kept.splitlines())) <= COLUMNS
