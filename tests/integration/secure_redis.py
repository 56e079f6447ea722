"""A real Redis server with TLS and ACL users, and the certificates it needs; skips where there is none."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, RedisError

from tests.conftest import GENEROUS_SECONDS
from tests.limits import kill_and_wait
from tests.ports import free_port

_ATTEMPTS = 5


@dataclass(frozen=True)
class SecureRedis:
    """`folder` holds `ca.pem`, and `other-ca.pem`, which signed nothing here."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def url(self, user: str, password: str, ca: str = "ca.pem", host: str = "localhost") -> str:
        return f"rediss://{quote(user)}:{quote(password)}@{host}:{self.port}/0?ssl_ca_certs={self.folder / ca}"

    def admin(self) -> Redis:
        return Redis(unix_socket_path=str(self.folder / "redis.sock"))


def write_certificates(folder: Path) -> None:
    """An authority, another one, and a certificate of the first for `localhost`. By the openssl program."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl program here to make certificates with")

    def make(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True, timeout=GENEROUS_SECONDS)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other-ca"):
        make(
            "req",
            "-x509",
            *curve,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )
    make("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    # All that Python 3.13 asks of a certificate.
    extensions = ("subjectAltName=DNS:localhost", "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid")
    (folder / "names").write_text("\n".join((*extensions, "keyUsage=critical,digitalSignature", "")))
    make("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-out", "server.pem", "-days", "2", "-extfile", "names")  # fmt: skip


@contextmanager
def secure_redis(folder: Path, users: Mapping[str, str]) -> Iterator[SecureRedis]:
    """`users`: the ACL rules of each user. The default user is for the tests, on a Unix socket that is never a URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server here (apt install redis-server)")
    write_certificates(folder)
    for _ in range(_ATTEMPTS):
        server = SecureRedis(_start(binary, folder, port := free_port(), users), port, folder)
        try:
            if _answers(server):
                yield server
                return
        finally:
            kill_and_wait(server.process)
    log = (folder / "redis.log").read_text()
    if "tls" in log.lower():
        pytest.skip(f"this redis-server has no TLS: {log[-300:]}")
    raise AssertionError(log[-2000:])


def _start(binary: str, folder: Path, port: int, users: Mapping[str, str]) -> subprocess.Popen[bytes]:
    lines = [
        "port 0", f"tls-port {port}", "bind 127.0.0.1", "tls-cert-file server.pem", "tls-key-file server.key",
        "tls-ca-cert-file ca.pem", "tls-auth-clients no", "unixsocket redis.sock", "unixsocketperm 700", f"dir {folder}",
        'save ""', "appendonly no", "maxmemory-policy noeviction",
        *(f"user {name} {rules}" for name, rules in users.items()),
    ]  # fmt: skip
    configuration = "".join(f"{line}\n" for line in lines).encode()
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "-"], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(configuration)
    return process


def _answers(server: SecureRedis) -> bool:
    until = time.monotonic() + GENEROUS_SECONDS
    with server.admin() as admin:
        while server.process.poll() is None and time.monotonic() < until:
            try:
                return bool(admin.ping())
            except (ConnectionError, RedisError):
                time.sleep(0.01)
    return False
