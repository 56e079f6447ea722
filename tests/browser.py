"""A headless Chromium driven by its own WebDriver protocol, for what only a real browser can show."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until

_ARGUMENTS = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


@dataclass(frozen=True)
class Browser:
    """`session` is the address of its WebDriver session."""

    session: str

    def open(self, url: str) -> None:
        _ask("POST", f"{self.session}/url", {"url": url})

    def source(self) -> str:
        return str(_ask("GET", f"{self.session}/source"))

    def status_of(self, path: str, method: str = "GET") -> int:
        """What the server answers when the open page asks for the path itself, as Flower's scripts do."""
        script = """
            const [method, path, done] = arguments;
            const asked = new XMLHttpRequest();
            asked.open(method, path);
            asked.onloadend = () => done(asked.status);
            asked.send();
        """
        return int(_ask("POST", f"{self.session}/execute/async", {"script": script, "args": [method, path]}))

    def count(self, selector: str) -> int:
        script = "return document.querySelectorAll(arguments[0]).length;"
        return int(_ask("POST", f"{self.session}/execute/sync", {"script": script, "args": [selector]}))


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Skips where there is no Chromium with its driver. `folder` is for its profile and log."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver here (apt-get install chromium chromium-driver)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (folder / "chromedriver.log").open("wb") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(address), "the browser's driver answers")
        # Chromium's sandbox refuses to work for root, as tests in containers run.
        arguments = [*_ARGUMENTS, f"--user-data-dir={folder / 'profile'}", *["--no-sandbox"] * (os.geteuid() == 0)]
        options = {"binary": chromium, "args": arguments}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        session = f"{address}/session/{_ask('POST', f'{address}/session', wanted)['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _ask("DELETE", session)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_ready(address: str) -> bool:
    try:
        return bool(_ask("GET", f"{address}/status")["ready"])
    except OSError:
        return False


def _ask(method: str, url: str, body: Any = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]
