"""The link that `up` prints, opened in a real browser: its pages and what they ask for themselves are let in."""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser import running_browser
from tests.conftest import Shell, wait_until


@contextmanager
def _up(shell: Shell, *words: str) -> Iterator[list[str]]:
    """The lines that `up` prints, as they come."""
    process = shell.start("up", "--slots", "1", *words)
    lines: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        lines.extend(iter(process.stderr.readline, ""))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        wait_until(lambda: process.poll() is not None or _link(lines), "the link is printed")
        yield lines
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        reader.join(timeout=60)
        process.communicate(timeout=60)  # closes its pipes


def _link(lines: list[str]) -> str:
    found = re.search(r"http://me:\S+@127\.0\.0\.1:\d+/", "".join(lines))
    return found[0] if found else ""


def test_a_browser_logs_in_by_the_link_and_finds_no_control_that_does_nothing(shell: Shell, tmp_path: Path) -> None:
    with running_browser(tmp_path) as browser, _up(shell, "--port", "0") as lines:
        shell("run", "pipeline.yaml", "-p", "learning_rate=0.01")
        link = _link(lines)
        browser.open(link)
        browser.open(f"{link}workers")
        wait_until(lambda: "local-" in browser.source(), "the worker is on its page")
        for path in ("/tasks", "/broker", "/api/workers", "/api/workers?refresh=1", "/api/tasks"):
            assert browser.status_of(path) == 200, path
        worker = re.search(r"/worker/(local-[^\"'?]+)", browser.source())
        assert worker is not None
        for path in (f"/api/worker/shutdown/{worker[1]}", f"/api/worker/pool/grow/{worker[1]}"):
            assert browser.status_of(path, method="POST") == 403, path
        browser.open(f"{link}worker/{worker[1]}")
        assert "local-" in browser.source()
        orders = (
            "#worker-shutdown, #worker-pool-restart, #worker-pool-grow, #worker-pool-shrink, #worker-pool-autoscale"
        )
        assert browser.count("#workername") == 1 and browser.count(f"{orders}, .worker-controls-form") == 0


def test_a_port_that_was_asked_for_and_is_taken_is_refused(shell: Shell) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = shell("up", "--port", str(port), exit_code=2).stderr
        assert f"port {port} is in use" in told and "--port 0" in told and "http://me:" not in told


def test_where_the_usual_port_is_taken_the_link_leads_to_another(shell: Shell) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 5555))
            other.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        with _up(shell) as lines:
            assert not _link(lines).endswith(":5555/")
            assert any("port 5555 is in use" in line for line in lines)


@pytest.mark.parametrize("words", [["--port", "65536"], ["--port", "x"]])
def test_what_is_no_port_is_refused(shell: Shell, words: list[str]) -> None:
    assert "Traceback" not in shell("up", *words, exit_code=2).stderr
