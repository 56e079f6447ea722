"""The view of /proc against processes that this test started itself."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limits import wait_for_end
from workers.supervisor import process_tree
from workers.supervisor.process_tree import children_of, descendants, read_marker, read_status, send_signal


@pytest.fixture(params=[True, False], ids=["children files", "kernel without them"])
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A child of this process with a child of its own."""
    if not request.param:
        monkeypatch.setattr(process_tree, "_children_files", False)
    argv = ["sh", "-c", "sleep 1000 & echo $!; wait"]
    env = {**os.environ, "MARK": "ü 1"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env, start_new_session=True) as parent:
        try:
            assert parent.stdout is not None
            yield parent.pid, int(parent.stdout.readline())
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


def test_children_and_descendants_are_found(family: tuple[int, int]) -> None:
    parent, child = family
    assert parent in children_of(os.getpid())
    assert child not in children_of(os.getpid())
    assert children_of(parent) == [child]
    assert descendants([parent]) == [parent, child]
    assert {parent, child} <= set(descendants([os.getpid()]))


def test_the_status_of_a_process_is_read(family: tuple[int, int]) -> None:
    parent, child = family
    status = read_status(child)
    assert status is not None
    assert (status.parent, status.session, status.is_zombie) == (parent, parent, False)
    assert read_marker(child, "MARK") == "ü 1"
    assert read_marker(child, "MAR") is None


def test_a_signal_reaches_only_the_process_that_was_meant(family: tuple[int, int]) -> None:
    parent, _ = family
    status = read_status(parent)
    assert status is not None
    send_signal(parent, status.start_ticks + 1, signal.SIGKILL)
    assert os.waitid(os.P_PID, parent, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    send_signal(parent, status.start_ticks, signal.SIGKILL)
    info = os.waitid(os.P_PID, parent, os.WEXITED | os.WNOWAIT)
    assert info is not None
    assert info.si_status == signal.SIGKILL


def test_a_process_that_is_gone_has_no_status_and_gets_no_signal() -> None:
    gone = subprocess.Popen(["true"])
    wait_for_end(gone)
    assert read_status(gone.pid) is None
    assert children_of(gone.pid) == []
    send_signal(gone.pid, 1, signal.SIGKILL)


def test_a_name_with_parentheses_and_spaces_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as process:
        try:
            status = read_status(process.pid)
            assert status is not None
            assert status.parent == os.getpid()
        finally:
            process.kill()
