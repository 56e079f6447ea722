"""Flower against real workers: what its pages and its HTTP API say about runs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.client import Client
from pipeline_queue.contract.settings import Settings
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.local.server import start_server
from pipeline_queue.submitting.submission import prepare_sweep
from tests.conftest import GENEROUS_SECONDS, Cluster, plain_environment, wait_until, write_folder
from tests.limits import kill_and_wait
from tests.ports import free_port

CREDENTIALS = "me:a-password"
WORKER = "one@test"

TRAIN = """\
pipeline:
  name: train
  parameters:
    - {name: learning_rate, type: float}
    - {name: optimizer, type: string, default: sgd}
  steps:
    - prepare: {run: [python, -c, "open('data', 'w')"]}
    - fit: {run: [python, -c, "open('model', 'w')"]}
"""

FAILS = """\
pipeline:
  name: fails
  parameters:
    - {name: learning_rate, type: float}
  steps:
    - explode: {run: [python, -c, "print('no such data'); raise SystemExit(3)"]}
    - never: {run: 'true'}
"""

SLEEPS = """\
pipeline:
  name: sleeps
  steps:
    - wait: {run: [sleep, '600']}
"""

FAILS_ONCE = """\
pipeline:
  name: recovers
  parameters:
    - {name: marker, type: string}
  steps:
    - flaky: {run: [python, once.py, '${{ parameters.marker }}'], retries: 1}
"""

SHARES = """\
pipeline:
  name: shares
  parameters:
    - {name: n, type: int}
    - {name: gate, type: string}
  steps:
    - prepare: {run: [sh, -c, 'while [ ! -e "$0" ]; do sleep 0.05; done', '${{ parameters.gate }}']}
    - fit: {run: [echo, '${{ parameters.n }}']}
"""

ONCE = """\
import os, sys
if not os.path.exists(sys.argv[1]):
    open(sys.argv[1], "w")
    sys.exit("not yet")
"""

Task = dict[str, Any]


@dataclass(frozen=True)
class Flower:
    """A running Flower that hears the worker, and the cluster it shows."""

    url: str
    cluster: Cluster
    folder: Path

    def status(self, path: str, credentials: str | None = CREDENTIALS) -> int:
        try:
            with _opened(self.url + path, credentials) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def get(self, path: str, **query: str) -> Any:
        question = f"?{urllib.parse.urlencode(query)}" if query else ""
        with _opened(f"{self.url}{path}{question}", CREDENTIALS) as answer:
            return json.load(answer)

    def tasks(self, search: str) -> list[Task]:
        return list(self.get("/api/tasks", search=search).values())

    def ended_tasks(self, search: str, count: int) -> list[Task]:
        """The tasks found once there are as many that have ended: events arrive a little after the facts."""

        def found() -> list[Task] | None:
            tasks = self.tasks(search)
            ended = all(task["state"] not in ("PENDING", "RECEIVED", "STARTED") for task in tasks)
            return tasks if len(tasks) >= count and ended else None

        tasks: list[Task] = wait_until(found, f"{count} ended tasks for {search!r}")
        return tasks

    def submit(self, text: str, **values: Any) -> str:
        client = self.cluster.client
        (self.folder / "pipeline.yaml").write_text(text)
        return client.submit(client.load(self.folder / "pipeline.yaml"), values)

    def run(self, text: str, **values: Any) -> str:
        run = self.submit(text, **values)
        self.cluster.client.wait(run, GENEROUS_SECONDS)
        return run


@pytest.fixture(scope="module")
def flower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """One server, worker and Flower for the whole file: each test looks at runs of its own."""
    folder = tmp_path_factory.mktemp("flower")
    with ExitStack() as stack:
        server = start_server(folder / "server.log")
        stack.callback(server.stop)
        settings = Settings(server.broker_url, folder / "storage", folder / "scratch")
        client = stack.enter_context(Client(settings.storage, settings))
        cluster = Cluster(settings, client, stack)
        # Flower knows only what it hears itself, so it comes first.
        url = stack.enter_context(_running_flower(settings, folder / "flower.log"))
        cluster.start_worker()
        flower = Flower(url, cluster, write_folder(folder / "project", once_py=ONCE))
        wait_until(lambda: flower.get("/api/workers", status="1").get(WORKER), "Flower hears the worker")
        yield flower


def test_the_worker_is_listed_with_its_queue(flower: Flower) -> None:
    # A refresh may join one that began before the worker did, and answers arrive one by one.
    queues = wait_until(
        lambda: flower.get("/api/workers", refresh="1").get(WORKER, {}).get("active_queues"),
        "Flower lists the worker",
    )
    assert [queue["name"] for queue in queues] == ["default"]
    assert list(flower.get("/api/workers")) == [WORKER]


def test_without_the_password_nothing_is_shown(flower: Flower) -> None:
    for path in ("/", "/tasks", "/workers", "/api/tasks", "/api/workers"):
        assert flower.status(path, credentials=None) == 401
        assert flower.status(path, credentials="me:guessed") == 401
        assert flower.status(path) == 200


def test_tasks_are_steps_with_the_parameters_as_keyword_arguments(flower: Flower) -> None:
    run = flower.run(TRAIN, learning_rate=0.5, optimizer="adam")
    tasks = flower.ended_tasks("kwargs:learning_rate=0.5", 2)
    assert sorted(task["name"] for task in tasks) == ["train.fit", "train.prepare"]
    for task in tasks:
        assert task["state"] == "SUCCESS"
        assert task["kwargs"] == "{'learning_rate': 0.5, 'optimizer': 'adam'}"
        assert run in task["args"]
        assert task["worker"] == WORKER


def test_a_search_for_a_value_finds_exactly_the_runs_that_have_it(flower: Flower) -> None:
    runs = {rate: flower.run(TRAIN, learning_rate=rate) for rate in (0.01, 0.1, 0.011)}
    for rate in runs:
        flower.ended_tasks(f"kwargs:learning_rate={rate}", 2)
    found = flower.tasks("kwargs:learning_rate=0.01")
    assert sorted((task["name"], task["args"]) for task in found) == [
        ("train.fit", f"('{runs[0.01]}',)"),
        ("train.prepare", f"('{runs[0.01]}',)"),
    ]
    assert [task["name"] for task in flower.tasks("kwargs:learning_rate=0.1 name:train.fit")] == ["train.fit"]
    assert flower.tasks("kwargs:learning_rate=0.012") == []


def test_a_failed_step_is_a_failure_with_its_reason_and_later_steps_never_appear(flower: Flower) -> None:
    flower.run(FAILS, learning_rate=0.07)
    (task,) = flower.ended_tasks("kwargs:learning_rate=0.07", 1)
    assert (task["name"], task["state"]) == ("fails.explode", "FAILURE")
    assert "StepFailedError" in task["exception"]
    assert "step explode failed with exit code 3" in task["exception"]
    assert "no such data" in task["exception"]
    sliced = flower.tasks("kwargs:learning_rate=0.07 state:FAILURE")
    assert [one["uuid"] for one in sliced] == [task["uuid"]]


def test_a_cancelled_step_is_revoked(flower: Flower) -> None:
    run = flower.submit(SLEEPS)
    wait_until(lambda: flower.tasks("name:sleeps.wait state:STARTED"), "the step has started")
    flower.cluster.client.cancel(run)
    flower.cluster.client.wait(run, GENEROUS_SECONDS)
    (task,) = flower.ended_tasks("name:sleeps.wait", 1)
    assert task["state"] == "REVOKED"


def test_an_attempt_that_is_tried_again_shows_retry_with_its_reason(flower: Flower) -> None:
    run = flower.run(FAILS_ONCE, marker=str(flower.folder.parent / "marker"))
    assert flower.cluster.client.run(run).state == "succeeded"
    tasks = {task["state"]: task for task in flower.ended_tasks("name:recovers.flaky", 2)}
    assert sorted(tasks) == ["RETRY", "SUCCESS"]
    assert "step flaky failed with exit code 1" in tasks["RETRY"]["exception"]
    assert "not yet" in tasks["RETRY"]["exception"]


def test_a_run_that_waits_for_a_shared_step_has_no_exception_and_is_not_tried_again(flower: Flower) -> None:
    gate = flower.folder.parent / "gate"
    client = flower.cluster.client
    (flower.folder / "pipeline.yaml").write_text(SHARES)
    loaded = client.load(flower.folder / "pipeline.yaml")
    built = build_space(loaded, SweepRequest(texts=("n=1,2,3", f"gate={gate}")))
    sweep = client.submit_sweep(prepare_sweep(loaded, built, "", None))

    def waiting() -> list[Task] | None:
        tasks = [task for task in flower.tasks("name:shares.prepare") if task["state"] == "WAITING"]
        return tasks if len(tasks) == 2 else None

    tasks = wait_until(waiting, "two runs wait for the third")
    assert {task["exception"] for task in tasks} == {None}
    assert all("waits for run" in task["result"] for task in tasks)
    gate.touch()
    assert client.wait_sweep(sweep, GENEROUS_SECONDS).state == "succeeded"
    assert [task["state"] for task in flower.ended_tasks("name:shares.fit", 3)] == ["SUCCESS"] * 3


@contextmanager
def _running_flower(settings: Settings, log: Path) -> Iterator[str]:
    """A Flower process that answers; ended by its pid whatever happens."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers", "flower", "--address=127.0.0.1", f"--port={port}"],
            # In the environment, as arguments are for everybody to see.
            env=plain_environment(**settings.environment(), FLOWER_BASIC_AUTH=CREDENTIALS),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with _opened(f"{url}/healthcheck", None):
                return True
        except OSError:
            return False

    try:
        wait_until(answers, "Flower answers")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            kill_and_wait(process)


def _opened(url: str, credentials: str | None) -> Any:
    request = urllib.request.Request(url)
    if credentials is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
    return urllib.request.urlopen(request, timeout=30)
