"""A real Flower with our pages, on a server, storage and workers of the test's own; and a plain HTTP client for it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from pipeline_queue.contract.settings import FLOWER_SOCKET
from tests.conftest import GENEROUS_SECONDS, Cluster, plain_environment, wait_until
from tests.limits import kill_and_wait

USER, PASSWORD = "ann", "s3cret-word"


@dataclass(frozen=True)
class Answer:
    """`body`: the text, or what its JSON says."""

    status: int
    headers: Message
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if "json" in self.headers.get("Content-Type", "") else self.raw.decode()


@dataclass(frozen=True)
class Site:
    """One Flower process."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    has_auth: bool
    prefix: str = ""
    sign_in: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """As a browser opens it, signed in."""
        user = f"{USER}:{PASSWORD}@" if self.has_auth else ""
        return f"http://{user}127.0.0.1:{self.port}{self.prefix}"

    def ask(self, path: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Signed in, unless `headers` has another Authorization."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=GENEROUS_SECONDS)
        try:
            sent = {**self.sign_in, **({"Content-Type": "application/json"} if body is not None else {})}
            sent = {name: value for name, value in {**sent, **(headers or {})}.items() if value}
            data = json.dumps(body).encode() if body is not None else None
            connection.request(method, self.prefix + path, data, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        answer = self.ask(path)
        assert answer.status == 200, (path, answer.status, answer.raw[:2000])
        return answer.body

    def post(self, path: str, body: Any = None) -> Answer:
        return self.ask(path, "POST", body if body is not None else {})

    def errors(self) -> str:
        """What the process logged of unexpected errors."""
        text = self.log.read_text()
        return text if "Traceback" in text or "Uncaught" in text else ""


@contextmanager
def running_flower(
    cluster: Cluster, *options: str, has_auth: bool = True, prefix: str = "", **environment: str
) -> Iterator[Site]:
    """On a socket that this process listens on already, so no port number is shared."""
    log = cluster.settings.storage.parent / "flower.log"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        descriptor, port = listener.fileno(), int(listener.getsockname()[1])
        variables = {**cluster.settings.environment(), FLOWER_SOCKET: str(descriptor), **environment}
        if has_auth:
            variables["FLOWER_BASIC_AUTH"] = f"{USER}:{PASSWORD}"
        if prefix:
            variables["FLOWER_URL_PREFIX"] = prefix
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workers", "flower", *options],
                env=plain_environment(**variables),
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            token = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            sign_in = {"Authorization": f"Basic {token}"} if has_auth else {}
            site = Site(port, process, log, has_auth, f"/{prefix}" if prefix else "", sign_in)
            wait_until(lambda: process.poll() is not None or _answers(site), "Flower answers")
            assert process.poll() is None, log.read_text()
            yield site
        finally:
            kill_and_wait(process)


def _answers(site: Site) -> bool:
    try:
        return site.ask("/healthcheck").status == 200
    except OSError:
        return False
