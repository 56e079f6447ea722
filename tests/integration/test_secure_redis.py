"""Debian's Redis with TLS and users with the rules of docs/how-to/redis.md: a run works, and what is wrong is told."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from pipeline_queue.broker.app import make_app
from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, plain_environment, wait_until, write_folder
from tests.garbage import PLAIN_KEYS, QUEUE_KEYS, keys_of_sweep, plant_wrong_type
from tests.integration.secure_redis import SecureRedis, secure_redis
from tests.limits import kill_and_wait

PASSWORD = "s3cret-of-this-test"
RULES = dict(
    re.findall(
        r"^user (\w+) (on .*)$", (Path(__file__).resolve().parents[2] / "docs/how-to/redis.md").read_text(), re.M
    )
)
YAML = """\
pipeline:
  parameters:
    - {name: x, type: int}
  steps:
    - prepare: {run: work.py, args: "${{ parameters.x }}"}
    - train: {run: work.py, args: "${{ parameters.x }}", queue: gpu, retries: 1}
"""
WORK = (
    "import json, sys\njson.dump({'x': int(sys.argv[1])}, open('metrics.json', 'w'))\nsys.exit(int(sys.argv[1]) > 8)\n"
)


@dataclass
class Place:
    server: SecureRedis
    folder: Path

    def settings(self, user: str, password: str = PASSWORD, **where: str) -> Settings:
        return Settings(self.server.url(user, password, **where), self.folder / "storage", self.folder / "scratch")

    def shell(self, settings: Settings) -> Shell:
        folder = write_folder(self.folder / "p", pipeline_yaml=YAML, work_py=WORK)
        return Shell(folder, plain_environment(**settings.environment()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("secure")
    users = {name: rules.replace("PASSWORD", PASSWORD) for name, rules in RULES.items()}
    assert set(users) == {"submitter", "worker", "flower"}
    users["cut"] = users["worker"].replace(" ~_kombu.binding*", " ~_kombu.other*")
    users["mute"] = users["submitter"].replace(" +lpush", "")
    users["blind"] = users["submitter"].replace(" ~pq1:*", "")
    with secure_redis(folder, users) as server:
        yield Place(server, folder)


@pytest.fixture
def cluster(place: Place) -> Iterator[Cluster]:
    """A worker's settings, and a submitter's client."""
    with ExitStack() as stack:
        settings = place.settings("submitter")
        client = stack.enter_context(Client(settings.storage, settings))
        yield Cluster(place.settings("worker"), client, stack)


def test_users_with_the_documented_rules_run_sweep_retry_and_watch(place: Place, cluster: Cluster) -> None:
    place.server.admin().execute_command("ACL", "LOG", "RESET")
    worker = cluster.start_worker("--concurrency", "2", "--queues", "default,gpu")
    shell = place.shell(place.settings("submitter"))
    assert shell.json("run", "pipeline.yaml", "-p", "x=1", "--json")["state"] == "succeeded"
    swept = shell.json("sweep", "pipeline.yaml", "-p", "x=range(0,10)", "--json", exit_code=1)
    assert (swept["counts"]["succeeded"], swept["counts"]["failed"]) == (9, 1)
    shell("retry", "last", exit_code=1)
    shell("status")
    shell("cancel", "last")
    place.server.admin().lpush("default", "garbage")
    wait_until(lambda: "garbage" in shell("doctor", "--dead").stdout, "the bad message is kept")
    shell("doctor", "--clear-dead")
    checks = {check["name"]: check["state"] for check in shell.json("doctor", "--json")["checks"]}
    assert checks["broker"] == "ok"
    shell("forget", "last", "--yes")
    worker.terminate()
    assert worker.wait(timeout=60) == 0
    assert refusals(place) == []


def test_garbage_in_our_keys_is_dropped_within_the_documented_rules(place: Place, cluster: Cluster) -> None:
    admin, chance = place.server.admin(), random.Random(5)
    cluster.start_worker("--concurrency", "2", "--queues", "default,gpu", name="mending")
    admin.execute_command("ACL", "LOG", "RESET")
    for key, kind in {**PLAIN_KEYS, **QUEUE_KEYS}.items():
        plant_wrong_type(admin, key, kind, chance)
    shell = place.shell(place.settings("submitter"))
    sweep = shell("sweep", "pipeline.yaml", "-p", "x=range(0,40)", "--detach").stdout.strip()
    for key, kind in keys_of_sweep(sweep, 8).items():
        plant_wrong_type(admin, key, kind, chance)
    shell("status", sweep)
    shell("doctor", exit_code=None)
    counts = cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts
    assert (counts["succeeded"], counts["failed"]) == (9, 31)
    shell("doctor", "--clear-dead")
    assert refusals(place) == []


def test_flower_with_the_documented_rules_sees_tasks_and_acts_on_sweeps(place: Place, cluster: Cluster) -> None:
    place.server.admin().execute_command("ACL", "LOG", "RESET")
    environment = plain_environment(**place.settings("flower").environment(), FLOWER_BASIC_AUTH="me:secret")
    log = place.folder / "flower.log"
    with log.open("wb") as file:
        flower = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers", "flower", "--address=127.0.0.1", "--port=0"],
            env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        url = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()), "Flower serves").group()
        cluster.start_worker("--concurrency", "2", "--queues", "default,gpu", name="seen")

        def read(path: str, body: object = None) -> dict[str, object]:
            token = {"Authorization": f"Basic {b64encode(b'me:secret').decode()}", "Content-Type": "application/json"}
            request = Request(f"{url}{path}", json.dumps(body).encode() if body is not None else None, headers=token)
            with urlopen(request, timeout=60) as answer:
                found: dict[str, object] = json.load(answer)
                return found

        wait_until(lambda: "seen@test" in read("/api/workers?refresh=1"), "Flower asks the worker")
        run = place.shell(place.settings("submitter")).json("run", "pipeline.yaml", "-p", "x=2", "--json")["run"]
        wait_until(lambda: run in json.dumps(read("/api/tasks")), "Flower hears of the task")
        shell = place.shell(place.settings("submitter"))
        sweep = shell("sweep", "pipeline.yaml", "-p", "x=range(0,40)", "--detach").stdout.strip()
        for action in ("pause", "resume", "cancel"):
            assert "done" in read(f"/api/sweeps/{sweep}/{action}", {})
        cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
        assert "done" in read(f"/api/sweeps/{sweep}/retry", {})
        cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
        again = str(read(f"/api/runs/{run}/again", {"values": {"x": 3}})["run"])
        assert cluster.client.wait(again, GENEROUS_SECONDS).parameters == {"x": 3}
        assert read("/api/cluster")["light"] != "fail"
        for path in ("/api/sweeps", f"/api/sweeps/{sweep}", f"/api/sweeps/{sweep}/runs", f"/api/runs/{run}"):
            assert "error" not in read(path)
        assert "done" in read(f"/api/sweeps/{sweep}/forget", {})
    finally:
        kill_and_wait(flower)
    assert refusals(place) == []


def refusals(place: Place) -> list[str]:
    """What the server refused anybody, by command or key. `doctor` may ask for the configuration, and be refused."""
    rows = place.server.admin().execute_command("ACL", "LOG")
    return [str(row) for row in rows if row[b"object"] != b"config|get"]


@pytest.mark.parametrize(
    ("user", "change", "reason"),
    [
        ("submitter", {"password": "wr0ng-one"}, r"refused the password or user: .*check PIPELINE_QUEUE_BROKER_URL"),
        ("nobody", {}, r"refused the password or user"),
        ("submitter", {"ca": "other-ca.pem"}, r"certificate that is not to be trusted: .*add\s+\?ssl_ca_certs="),
        ("submitter", {"host": "127.0.0.1"}, r"certificate that is not to be trusted: .*mismatch"),
        ("blind", {}, r"does not permit its user .*docs/how-to/redis\.md"),
        ("mute", {}, r"does not permit its user .*docs/how-to/redis\.md"),
    ],
    ids=["password", "user", "authority", "name", "keys", "command"],
)
def test_a_submitter_is_told_plainly_what_is_wrong(
    place: Place, user: str, change: dict[str, str], reason: str
) -> None:
    settings = place.settings(user, **change)
    done = place.shell(settings)("run", "pipeline.yaml", "-p", "x=1", exit_code=3)
    assert re.search(reason, done.stderr, re.S), done.stderr
    assert_no_password(done.stderr, change)


@pytest.mark.parametrize(
    ("user", "change", "reason"),
    [
        ("worker", {"password": "wr0ng-one"}, r"refused the password or user: .*check PIPELINE_QUEUE_BROKER_URL"),
        ("worker", {"ca": "other-ca.pem"}, r"certificate that is not to be trusted: .*\?ssl_ca_certs="),
        ("cut", {}, r"does not permit its user .*docs/how-to/redis\.md.*tried: SREM _kombu"),
        ("submitter", {}, r"does not permit its user .*docs/how-to/redis\.md"),
    ],
    ids=["password", "authority", "keys", "commands"],
)
def test_a_worker_ends_with_a_plain_text(place: Place, user: str, change: dict[str, str], reason: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "workers", "worker", "--concurrency", "1"],
        env=plain_environment(**place.settings(user, **change).environment()),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert re.search(reason, done.stderr, re.S), done.stderr
    assert "Traceback" not in done.stderr
    assert_no_password(done.stderr, change)


@pytest.mark.parametrize("change", [{"ca": "other-ca.pem"}, {"host": "127.0.0.1"}], ids=["authority", "name"])
def test_celery_itself_checks_the_certificate(place: Place, change: dict[str, str]) -> None:
    app = make_app(place.settings("worker", **change).broker_url)
    with app.connection_for_write() as connection, pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        connection.connect()
    app = make_app(place.settings("worker").broker_url)
    with app.connection_for_write() as connection:
        assert connection.connect()


def assert_no_password(text: str, change: dict[str, str]) -> None:
    assert PASSWORD not in text
    assert change.get("password", PASSWORD) not in text


def test_a_server_that_is_not_there_is_waited_for(place: Place) -> None:
    """Only what waiting does not mend ends a worker."""
    from pipeline_queue.index.connection import check_access

    gone = replace(place.server, port=1)
    check_access(gone.url("worker", PASSWORD), [["PING"]])
