"""A headless Chromium driven by its own WebDriver protocol, for what only a real browser can show."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until

_ARGUMENTS = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
_TEXTS = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent);"


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

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function returns that the open page executes with these arguments."""
        return _ask("POST", f"{self.session}/execute/sync", {"script": script, "args": arguments})

    def count(self, selector: str) -> int:
        return int(self.run("return document.querySelectorAll(arguments[0]).length;", selector))

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.run(_TEXTS, selector)]

    def click(self, selector: str) -> None:
        """As a mouse does: fails where the element is hidden or something else lies over it."""
        self._tell(selector, "click", {})

    def write(self, selector: str, text: str) -> None:
        """Key by key; on an <option>'s list this chooses what begins so."""
        self._tell(selector, "value", {"text": text})

    def press(self, *keys: str) -> None:
        """Presses the keys together, on whatever has the focus; WebDriver's characters name those without text."""
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        _ask("POST", f"{self.session}/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def show_at(self, width: int, height: int, theme: str) -> None:
        """Lays pages out as on a screen of this size, whatever windows can be, for who prefers `light` or `dark`.

        Nothing moves, so that what is focused or opened is in its place at once.
        """
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._command("Emulation.setDeviceMetricsOverride", size)
        self._command("Emulation.setScrollbarsHidden", {"hidden": True})
        preferred = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self._command("Emulation.setEmulatedMedia", {"features": features})

    def picture(self) -> bytes:
        """The whole page as PNG."""
        made = self._command("Page.captureScreenshot", {"captureBeyondViewport": True})
        return b64decode(made["data"])

    def complaints(self) -> list[str]:
        """What pages wrote to the console since the last call: uncaught errors and refusals of the policy too."""
        entries = _ask("POST", f"{self.session}/se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries]

    def _command(self, name: str, parameters: dict[str, Any]) -> Any:
        """One of Chromium's own protocol."""
        return _ask("POST", f"{self.session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def _tell(self, selector: str, order: str, body: dict[str, str]) -> None:
        found = _ask("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        _ask("POST", f"{self.session}/element/{next(iter(found.values()))}/{order}", body)


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
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        asked = {"capabilities": {"alwaysMatch": wanted}}
        session = f"{address}/session/{_ask('POST', f'{address}/session', asked)['sessionId']}"
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
