"""A canary in the broker's password: looked for wherever anybody could read it."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.broker.app import make_app
from pipeline_queue.cli import _COMMANDS
from pipeline_queue.client import Client
from pipeline_queue.contract.settings import BROKER_URL, Settings
from pipeline_queue.index.connection import answers, connect
from pipeline_queue.local.server import _binary, start_server
from tests.conftest import Cluster, plain_environment, wait_until, write_folder
from tests.integration.secure_redis import secure_redis
from tests.limits import kill_and_wait
from tests.ports import free_port

CANARY = "c4nary-0f-th1s-test"
LOGIN = "me:a-password"
WORKER = "one@test"

PIPELINE = """\
pipeline:
  name: secret
  parameters:
    - {name: code, type: int, default: 0}
  steps:
    - environment: {run: [env]}
    - parents: {run: look.py}
    - end: {run: [sh, -c, 'exit ${{ parameters.code }}']}
"""

# What a step can see of the processes above it is what /proc shows to everybody: their command lines.
LOOK = """\
import os
pid = os.getpid()
while pid > 1:
    print(open(f"/proc/{pid}/cmdline", "rb").read())
    pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
print(open("/proc/self/environ", "rb").read())
"""


@dataclass
class Site:
    secret: str
    cluster: Cluster
    folder: Path
    url: str
    processes: list[subprocess.Popen[bytes]]

    def get(self, path: str, login: str | None = LOGIN) -> str:
        """The answer, of an error too, with its headers."""
        request = urllib.request.Request(self.url + path)
        if login:
            request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return f"{answer.headers}{answer.read().decode()}"
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.headers}{error.read().decode()}"


@contextmanager
def _tcp(folder: Path) -> Iterator[tuple[str, str]]:
    """A server that listens on TCP, and the secret in its URL."""
    for _ in range(5):
        port = free_port()
        process = subprocess.Popen([str(_binary()), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(f"port {port}\nbind 127.0.0.1\nrequirepass {CANARY}\nsave ''\ndir {folder}\n".encode())
        url = f"redis://:{CANARY}@127.0.0.1:{port}/0"
        try:
            wait_until(
                lambda url=url, process=process: answers(url) or process.poll() is not None, "the server answers"
            )
            if process.poll() is None:
                yield url, CANARY
                return
        finally:
            kill_and_wait(process)
    raise AssertionError("no server listens on TCP")


@contextmanager
def _unix(folder: Path) -> Iterator[tuple[str, str]]:
    server = start_server(folder / "server.log")
    try:
        yield server.broker_url, server.broker_url.partition("//:")[2].partition("@")[0]
    finally:
        server.stop()


@contextmanager
def _escaped(folder: Path) -> Iterator[tuple[str, str]]:
    """A password that is written otherwise in a URL than the server knows it, a user, and another database."""
    socket_path = folder / "socket"
    process = subprocess.Popen([str(_binary()), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    with process.stdin:
        user = f"user some-body on >{CANARY}/@:?#%25 ~* &* +@all"
        process.stdin.write(f"port 0\nunixsocket {socket_path}\nsave ''\ndir {folder}\n{user}\n".encode())
    url = f"redis+socket://some-body:{CANARY}%2F%40%3A%3F%23%2525@{socket_path}?virtual_host=3"
    try:
        wait_until(lambda: answers(url), "the server answers")
        yield url, CANARY
    finally:
        kill_and_wait(process)


@contextmanager
def _tls(folder: Path) -> Iterator[tuple[str, str]]:
    with secure_redis(folder, {"all": f"on >{CANARY} ~* &* +@all"}) as server:
        yield server.url("all", CANARY), CANARY


@pytest.fixture(scope="module", params=[_tcp, _unix, _escaped, _tls], ids=["tcp", "unix", "escaped", "tls"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Server, Flower, worker, and two runs of which one failed."""
    folder = tmp_path_factory.mktemp("secrets")
    with ExitStack() as stack:
        (folder / "redis").mkdir()
        broker_url, secret = stack.enter_context(request.param(folder / "redis"))
        settings = Settings(broker_url, folder / "storage", folder / "scratch")
        client = stack.enter_context(Client(settings.storage, settings))
        cluster = Cluster(settings, client, stack)
        port = free_port()
        flower = stack.enter_context(_flower(settings, folder / "flower.log", port))
        worker = cluster.start_worker()
        site = Site(secret, cluster, folder, f"http://127.0.0.1:{port}", [flower, worker])
        wait_until(lambda: "200" not in site.get("/healthcheck") and "OK" in site.get("/healthcheck"), "Flower answers")
        write_folder(folder / "project", pipeline_yaml=PIPELINE, look_py=LOOK)
        pipeline = client.load(folder / "project" / "pipeline.yaml")
        for code in (0, 3):
            client.wait(client.submit(pipeline, {"code": code}), 120)
        wait_until(lambda: WORKER in json.loads(_body(site.get("/api/workers?refresh=1"))), "Flower knows the worker")
        yield site


def _body(answer: str) -> str:
    return answer.partition("\n\n")[2]


@contextmanager
def _flower(settings: Settings, log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "workers",
                "flower",
                "--address=127.0.0.1",
                f"--port={port}",
                "--logging=debug",
            ],
            env=plain_environment(**settings.environment(), FLOWER_BASIC_AUTH=LOGIN),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, "Flower listens")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def test_no_page_and_no_answer_of_flower_shows_it(site: Site) -> None:
    tasks = json.loads(_body(site.get("/api/tasks")))
    assert tasks
    task = next(iter(tasks))
    pages = [
        "/", "/workers", f"/worker/{WORKER}", "/tasks", f"/task/{task}", "/broker", "/metrics", "/healthcheck",
        "/api/workers", "/api/workers?refresh=1", f"/api/workers?refresh=1&workername={WORKER}", "/api/tasks",
        f"/api/task/info/{task}", f"/api/task/result/{task}", "/api/task/types", "/api/queues/length", "/login",
        "/no-such-page", "/api/no-such", "/worker/absent@test", "/task/absent",
    ]  # fmt: skip
    texts = {page: site.get(page) for page in pages}
    texts |= {f"{page} without login": site.get(page, login=None) for page in pages}
    assert [page for page, text in texts.items() if site.secret in text] == []
    assert '"stats"' in texts["/api/workers?refresh=1"] and '"broker"' in texts["/api/workers?refresh=1"]
    if not site.cluster.settings.broker_url.startswith("rediss:"):  # of whose certificate options Flower takes none
        assert "default" in texts["/broker"], "the broker's page works"


def test_no_answer_of_a_worker_to_remote_control_shows_it(site: Site) -> None:
    app = make_app(site.cluster.settings.broker_url)
    try:
        inspect = app.control.inspect(timeout=30, limit=1)
        answers_ = {
            name: getattr(inspect, name)() for name in ("stats", "conf", "report", "ping", "active", "registered")
        }
        answers_["all of conf"] = inspect.conf(with_defaults=True)
    finally:
        app.close()
    assert all(answers_.values())
    assert [name for name, answer in answers_.items() if site.secret in repr(answer)] == []


def test_no_command_prints_it(site: Site) -> None:
    shell = site.cluster.shell(site.folder / "project")
    words = [[name, "--help"] for name in _COMMANDS]
    words += [["--help"], ["status"], ["status", "last"], ["doctor"], ["doctor", "--json"], ["doctor", "--dead"]]
    words += [["status", "--json"], ["logs", "last"], ["trace", "last"], ["up"], ["run", "absent.yaml"]]
    words += [["run", "pipeline.yaml", "-p", "code=x"]]
    for command in words:
        done = shell(*command, exit_code=None)
        assert site.secret not in done.stdout + done.stderr, command


@pytest.mark.parametrize("insert", ["#", "/", "@", ":", "[", "?", " ", "%", "#@", "\n"])
def test_no_error_for_a_broken_url_prints_it(site: Site, insert: str) -> None:
    """An unescaped character in the password, or no server where the URL leads."""
    broken = site.cluster.settings.broker_url.replace(site.secret, f"{site.secret}{insert}{site.secret}")
    environment = plain_environment(**{**site.cluster.settings.environment(), BROKER_URL: broken})
    for command in (["doctor"], ["worker"], ["run", "pipeline.yaml"]):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline_queue", *command],
            cwd=site.folder / "project", env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode in (2, 3), (command, done.stdout, done.stderr)
        assert site.secret not in done.stdout + done.stderr, command
    if insert in "@:%":
        return  # only a wrong password: Flower goes on trying
    done = subprocess.run(
        [sys.executable, "-m", "workers", "flower"],
        cwd=site.folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0 and site.secret not in done.stdout + done.stderr


def test_it_is_in_no_log_no_file_and_no_key(site: Site) -> None:
    secret = site.secret.encode()
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.name != "users.acl"]
    assert len(files) > 10
    assert [path for path in files if secret in path.read_bytes()] == []
    client = connect(site.cluster.settings.broker_url)
    client.connection_pool.connection_kwargs["decode_responses"] = False
    client.connection_pool.connection_kwargs["encoding_errors"] = "replace"
    try:
        keys = list(client.scan_iter("*"))
        assert keys
        assert [key for key in keys if secret in (client.dump(key) or b"")] == []
    finally:
        client.close()


def test_it_is_on_no_command_line_and_in_no_step(site: Site) -> None:
    shell = site.cluster.shell(site.folder / "project")
    seen = shell("logs", "last").stdout
    assert "python" in seen and site.secret not in seen
    assert re.search(r"PIPELINE_QUEUE_RUN_ID", seen) and BROKER_URL not in seen
    for process in site.processes:
        for pid in _tree(process.pid):
            assert site.secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_workers_refuse_orders_and_answer_questions(site: Site) -> None:
    app = make_app(site.cluster.settings.broker_url)
    try:
        control = app.control
        orders: dict[str, dict[str, Any]] = {
            "shutdown": {}, "rate_limit": {"task_name": "pipeline_queue.step", "rate_limit": "1/h"},
            "cancel_consumer": {"queue": "default"}, "pool_shrink": {"n": 1}, "pool_grow": {"n": 1},
            "autoscale": {"max": 1, "min": 0}, "time_limit": {"task_name": "pipeline_queue.step", "hard": 1},
            "revoke": {"task_id": "x", "terminate": True}, "disable_events": {}, "add_consumer": {"queue": "other"},
            "terminate": {"task_id": "x", "signal": "KILL"}, "hello": {"from_node": "x", "revoked": {"x": 1}},
            "pool_restart": {}, "election": {"id": "1", "topic": "x"}, "objgraph": {}, "memdump": {},
        }  # fmt: skip
        for order, arguments in orders.items():
            (answer,) = control.broadcast(order, arguments=arguments, reply=True, timeout=30, limit=1)
            assert "PIPELINE_QUEUE_REMOTE_CONTROL" in answer[WORKER]["error"], order
        assert control.ping(timeout=30, limit=1) == [{WORKER: {"ok": "pong"}}]
        (queues,) = control.inspect(timeout=30, limit=1).active_queues().values()
        assert [queue["name"] for queue in queues] == ["default"]
    finally:
        app.close()
    client = site.cluster.client
    pipeline = client.load(site.folder / "project" / "pipeline.yaml")
    assert client.wait(client.submit(pipeline, {}), 120).state == "succeeded"


def test_flower_is_read_only_and_asks_browsers_to_log_in(site: Site) -> None:
    for path in (f"/api/worker/shutdown/{WORKER}", f"/api/worker/pool/shrink/{WORKER}", "/api/task/revoke/x"):
        request = urllib.request.Request(site.url + path, method="POST", data=b"")
        request.add_header("Authorization", f"Basic {base64.b64encode(LOGIN.encode()).decode()}")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=60)
        assert caught.value.code == 403
        caught.value.close()
    page = site.get(f"/worker/{WORKER}")
    assert WORKER in page and "shutdown" not in page.lower().replace("data-shutdown", "")
    for path in ("/", "/api/workers", "/api/tasks"):
        assert "www-authenticate: basic" in site.get(path, login=None).lower(), path


def _tree(pid: int) -> list[int]:
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [pid, *(below for child in children for below in _tree(child))]
