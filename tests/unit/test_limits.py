"""No test waits for ever, and none can signal its own process group."""

from __future__ import annotations

import ast
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limits import join_all, signal_process, wait_for_end

TESTS = Path(__file__).resolve().parents[1]
WAITING = {"wait", "communicate", "result", "join"}
MAY_SIGNAL = {
    "limits.py",
    "faults/processes.py",  # what it has just read from /proc
    "faults/edge_worker.py",  # itself
    "first_hours/terminal.py",  # the group that its own child leads
    "unit/test_process_tree.py",  # the same
}


def _calls(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line, dotted name, and whether it is called with nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.lineno, ast.unparse(node.func), not (node.args or node.keywords)


def test_whatever_waits_has_a_limit_and_signals_go_to_pids_that_were_looked_at() -> None:
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        name = str(path.relative_to(TESTS))
        if name.startswith("acceptance/init_scripts"):  # scripts of users, in other encodings too
            continue
        for line, called, is_bare in _calls(ast.parse(path.read_bytes())):
            # The first process of a machine waits for its children as long as that is on.
            waits = is_bare and called.rpartition(".")[2] in WAITING and called != "os.wait"
            signals = called in ("os.kill", "os.killpg") and name not in MAY_SIGNAL
            found += [f"tests/{name}:{line}: {called}"] if waits or signals else []
    assert found == [], "use tests/limits.py"


@pytest.mark.parametrize("pid", [None, 0, -1, 1])
def test_no_signal_goes_to_a_group_or_the_first_process(pid: int | None) -> None:
    with pytest.raises(AssertionError, match="there is no process to send SIGCONT to"):
        signal_process(pid, signal.SIGCONT)


def test_a_process_that_does_not_end_fails_with_words_and_is_killed() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    with pytest.raises(AssertionError, match=r"\['sleep', '1000'\] has not ended within 0.05 s: pid .* children none"):
        wait_for_end(process, 0.05)
    assert process.wait(60) == -signal.SIGKILL


def test_a_thread_that_does_not_end_is_named() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, args=(60,), name="the slow one")
    thread.start()
    with pytest.raises(AssertionError, match="the slow one"):
        join_all([thread], 0.01)
    gate.set()
    join_all([thread])
