"""The five hours: each types its commands into one or two terminals and keeps what is seen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.local.folder import DataFolder
from tests.conftest import wait_until
from tests.first_hours.keeping import Screens
from tests.first_hours.projects import write_projects
from tests.first_hours.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Desk:
    """A person's folders and screens, and the size of the windows that are opened."""

    folder: Path
    screens: Screens
    columns: int
    rows: int

    @contextmanager
    def terminal(self, project: str) -> Iterator[Terminal]:
        terminal = Terminal(self.folder / project, self.columns, self.rows)
        try:
            yield terminal
        finally:
            terminal.close()

    def see(self, terminal: Terminal, command: str, name: str) -> int:
        """Runs a command in a cleared window and keeps the window; the exit code."""
        clear(terminal)
        code = terminal.run(command)
        self.screens.keep(terminal, name)
        return code


def clear(terminal: Terminal) -> None:
    terminal.run("clear")


def watch_once_accepted(terminal: Terminal, seconds: float = 1.0) -> None:
    """Looks at a sweep that has been accepted, after a while."""
    terminal.wait_for(" accepted (")
    time.sleep(seconds)


def watch_a_while(terminal: Terminal, seconds: float = 1.0) -> None:
    """Looks at what a command shows while it runs, not at once: what it shows then is up to it."""
    terminal.wait(lambda: len([line for line in terminal.lines() if line]) > 1, "a first word")
    time.sleep(seconds)


def prepare(folder: Path) -> None:
    """The projects of all hours."""
    write_projects(folder)
    shutil.copytree(ROOT / "examples" / "train", folder / "train", ignore=shutil.ignore_patterns("pipeline-queue-data"))


def wait_for_services(folder: Path) -> None:
    """Until what the commands started in `folder` has ended too, so that the folder can be removed."""
    for data in folder.glob("*/pipeline-queue-data"):
        served = DataFolder.of({}, data.parent)
        wait_until(lambda served=served: not served.is_served(), f"the service of {data} has ended")


def tour(desk: Desk) -> None:
    """The README from its top."""
    with desk.terminal("train") as terminal:
        desk.see(terminal, "pipeline-queue --help", "help")
        clear(terminal)
        before = len(terminal.exit_codes)
        terminal.start("pipeline-queue run pipeline.yaml -p learning_rate=0.01")
        watch_a_while(terminal, 0)
        desk.screens.keep(terminal, "run-starts")
        terminal.finish(before)
        desk.screens.keep(terminal, "run-ended")
        desk.see(terminal, "pipeline-queue run pipeline.yaml -p learning_rate=0.1", "run-again")
        desk.see(terminal, "pipeline-queue status", "status")
        desk.see(terminal, "pipeline-queue status last", "status-last")
        runs = '$(pipeline-queue status --json | python -c \'import json,sys; print(*[r["run"] for r in json.load(sys.stdin)["runs"]])\')'
        desk.see(terminal, f"pipeline-queue compare {runs}", "compare")
        desk.see(terminal, "pipeline-queue trace last", "trace")
        desk.see(terminal, "pipeline-queue logs last", "logs")
        desk.see(terminal, "pipeline-queue outputs last", "outputs")
        desk.see(terminal, "pipeline-queue explain last train_model", "explain")
        desk.see(terminal, "pipeline-queue run pipeline.yaml", "run-without-value")
        desk.see(terminal, "pipeline-queue run pipeline.yaml -p lerning_rate=0,1", "run-with-typos")
        desk.see(
            terminal, "pipeline-queue sweep pipeline.yaml -p 'learning_rate=logspace(0.001,1,7)' --dry-run", "dry-run"
        )
        desk.see(terminal, "pipeline-queue sweep pipeline.yaml -p 'learning_rate=logspace(0.001,1,7)'", "sweep-ended")
        desk.see(terminal, "pipeline-queue results last --sort loss", "results")
        desk.see(terminal, "pipeline-queue status", "status-with-sweep")
        desk.see(terminal, "pipeline-queue init train.py -o first.yaml && cat first.yaml", "init")
        desk.see(terminal, "pipeline-queue doctor", "doctor")


def failures(desk: Desk) -> None:
    """A sweep of which some runs fail, for two reasons; then they are done again."""
    with desk.terminal("flaky") as terminal:
        clear(terminal)
        before = len(terminal.exit_codes)
        healed = desk.folder / "healed"
        grid = f"-p lr=0.1,0.2,0.4,0.6,0.8 -p depth=1,2,3,4 -p healed={healed}"
        terminal.start(f"pipeline-queue sweep pipeline.yaml {grid} --name night-1")
        watch_once_accepted(terminal, 2)
        desk.screens.keep(terminal, "sweep-some-failed")
        terminal.finish(before)
        desk.screens.keep(terminal, "sweep-ended")
        desk.see(terminal, "pipeline-queue status last", "status-sweep")
        desk.see(terminal, "pipeline-queue status night-1", "status-by-name")
        desk.see(terminal, "pipeline-queue results last --sort -accuracy", "results")
        desk.see(terminal, "pipeline-queue results last --where state=failed", "results-failed")
        example = '$(pipeline-queue results last --where state=failed --json | python -c \'import json,sys; print(json.load(sys.stdin)["rows"][0]["run"])\')'
        desk.see(terminal, f"pipeline-queue status {example}", "status-failed-run")
        desk.see(terminal, f"pipeline-queue logs {example}", "logs-failed-run")
        desk.see(terminal, "pipeline-queue outputs last", "outputs-of-sweep")
        healed.touch()
        desk.see(terminal, "pipeline-queue retry last", "retry")
        desk.see(terminal, "pipeline-queue status last", "status-after-retry")


def sharing(desk: Desk) -> None:
    """Thirty runs that share a preparation: what is said while all wait for it, and later."""
    with desk.terminal("shared") as terminal, desk.terminal("shared") as second:
        clear(terminal)
        before = len(terminal.exit_codes)
        terminal.start("pipeline-queue sweep pipeline.yaml -p 'lr=linspace(0.01,1,30)'")
        watch_once_accepted(terminal)
        desk.screens.keep(terminal, "preparing")
        desk.see(second, "pipeline-queue status", "second-terminal-status")
        desk.see(second, "pipeline-queue status last", "second-terminal-sweep")
        watch_a_while(terminal, 5)
        desk.screens.keep(terminal, "training")
        desk.see(second, "pipeline-queue status last", "second-terminal-later")
        terminal.finish(before)
        desk.screens.keep(terminal, "ended")
        desk.see(terminal, "pipeline-queue explain last.3 prepare", "explain-shared")


def pausing(desk: Desk) -> None:
    """Pause, resume and cancel from a second terminal, and Ctrl-C in the first."""
    with desk.terminal("shared") as terminal, desk.terminal("shared") as second:
        clear(terminal)
        before = len(terminal.exit_codes)
        terminal.start("pipeline-queue sweep pipeline.yaml -p 'lr=linspace(1,2,40)'")
        watch_once_accepted(terminal)
        desk.see(second, "pipeline-queue pause last", "pause")
        desk.screens.keep(terminal, "first-while-paused")
        desk.see(second, "pipeline-queue status last", "status-paused")
        desk.see(second, "pipeline-queue resume last", "resume")
        desk.see(second, "pipeline-queue cancel last", "cancel")
        terminal.finish(before)
        desk.screens.keep(terminal, "first-after-cancel")
        clear(terminal)
        before = len(terminal.exit_codes)
        terminal.start("pipeline-queue sweep pipeline.yaml -p 'lr=linspace(2,3,40)'")
        watch_once_accepted(terminal)
        terminal.press("\x03")
        terminal.finish(before)
        desk.screens.keep(terminal, "after-ctrl-c")
        desk.see(terminal, "pipeline-queue status", "status-afterwards")


def hostility(desk: Desk) -> None:
    """Values and outputs that want to break the screen, and more numbers than fit it."""
    with desk.terminal("hostile") as terminal:
        for name, value in (
            ("spaces", "two words; rm -rf $HOME"),
            ("long", "y" * 300),
            ("unicode", "größe 日本語 \U0001f600"),
        ):
            desk.see(terminal, f"pipeline-queue run pipeline.yaml -p 'text={value}'", f"run-{name}")
        desk.see(
            terminal, "pipeline-queue run pipeline.yaml -p text=$'tab\\there\\nnew line \\e[31mred'", "run-escapes"
        )
        desk.see(terminal, "pipeline-queue run pipeline.yaml -p text=fail", "run-fails")
        desk.see(terminal, "pipeline-queue status", "status")
        desk.see(terminal, "pipeline-queue status last", "status-last")
        desk.see(terminal, "pipeline-queue trace last", "trace")
        desk.see(terminal, "pipeline-queue compare last last", "compare")
    with desk.terminal("wide") as terminal:
        desk.see(
            terminal, "pipeline-queue sweep pipeline.yaml -p parameter_number_3=1,2,3 --name wide-one", "wide-sweep"
        )
        desk.see(terminal, "pipeline-queue status", "wide-status")
        desk.see(terminal, "pipeline-queue results last", "wide-results")
        desk.see(terminal, "pipeline-queue status last.0", "wide-run")


HOURS: dict[str, Callable[[Desk], None]] = {
    "1-tour": tour,
    "2-failures": failures,
    "3-sharing": sharing,
    "4-pausing": pausing,
    "5-hostility": hostility,
}
