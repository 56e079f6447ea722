"""Garbage in our own keys of Redis ends nothing: it is dropped, and a sweep ends with the counts that are true."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis

from pipeline_queue.index import keys
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.reporting.doctor import examine
from pipeline_queue.submitting.submission import prepare_sweep
from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, new_cluster, wait_until, write_folder
from tests.garbage import PLAIN_KEYS, QUEUE_KEYS, SHARED_KEYS, keys_of_sweep, plant_bad_entry, plant_wrong_type
from tests.limits import kill_and_wait

RUNS = 5
PIPELINE = """\
pipeline:
  name: train
  parameters:
    - {name: gate, type: string}
    - {name: n, type: int}
  steps:
    - prepare: {run: wait.sh, args: "${{ parameters.gate }}"}
    - train: {run: train.sh, args: "${{ parameters.n }}"}
"""
WAIT = '#!/bin/sh\ntouch "$1.began"\nuntil [ -e "$1" ]; do sleep 0.05; done\necho prepared > data\n'
TRAIN = '#!/bin/sh\n[ "$1" != 3 ] || exit 5\necho "{\\"n\\": $1}" > metrics.json\n'


@dataclass
class Place:
    """A server and a worker that all examples share, and who plants garbage beside them."""

    cluster: Cluster
    worker: Popen[bytes]
    redis: Redis
    folder: Path
    log: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("garbage")
    with ExitStack() as stack:
        cluster = stack.enter_context(new_cluster(folder))
        yield Place(cluster, cluster.start_worker(), cluster.redis(), folder, folder / "worker-one.log")


def _submit(place: Place) -> tuple[str, Path]:
    """A sweep whose shared first step waits for a file."""
    project = write_folder(place.folder / "project", pipeline_yaml=PIPELINE)
    for name, text in (("wait.sh", WAIT), ("train.sh", TRAIN)):
        (project / name).write_text(text)
        (project / name).chmod(0o755)
    gate = place.folder / f"gate-{uuid4().hex}"
    client = place.cluster.client
    loaded = load_pipeline(project / "pipeline.yaml")
    built = build_space(loaded, SweepRequest(texts=(f"n=range(0,{RUNS})", f"gate={gate}")))
    return client.submit_sweep(prepare_sweep(loaded, built, "", client.storage_root)), gate


def _known(place: Place, sweep: str) -> dict[str, str]:
    leaders = place.redis.execute_command("HKEYS", keys.leaders_key(sweep)) or []
    shared = [name.decode(errors="replace") for name in leaders]
    return {**PLAIN_KEYS, **SHARED_KEYS, **QUEUE_KEYS, **keys_of_sweep(sweep, RUNS, shared)}


def _check_end(place: Place, sweep: str) -> None:
    report = place.cluster.client.wait_sweep(sweep, GENEROUS_SECONDS)
    assert {state: count for state, count in report.counts.items() if count} == {"succeeded": RUNS - 1, "failed": 1}
    storage = place.cluster.settings.storage
    end = wait_until(lambda: _read(storage / "sweeps" / sweep / "end.json"), "its end is written down")
    assert end["counts"] == {"succeeded": RUNS - 1, "failed": 1, "cancelled": 0}
    assert sum(group["count"] for group in end["failures"]) == 1
    assert place.worker.poll() is None, "the worker goes on"


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def _look(place: Place, sweep: str) -> None:
    """Everything that a person asks meanwhile has an answer."""
    client, settings = place.cluster.client, place.cluster.settings
    client.sweep(sweep)
    list(client.overview())
    client.workers()
    client.run(f"{sweep}.0")
    client.has_work()
    client.unfinished()
    examine(settings, settings.storage, embedded=False)


ONE = st.tuples(st.booleans(), st.integers(0, 1000), st.integers(0, 2**32))
"""Wrong type or bad entry, which key, and the rest of the choices."""


@settings(max_examples=8, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))
@given(at_once=st.lists(ONE, min_size=1, max_size=4), later=st.lists(ONE, max_size=3))
def test_a_sweep_ends_right_whatever_lies_in_our_keys(
    place: Place, at_once: list[tuple[bool, int, int]], later: list[tuple[bool, int, int]]
) -> None:
    sweep, gate = _submit(place)
    wait_until(Path(f"{gate}.began").exists, "the shared step is executed")
    said = _plant(place, sweep, at_once)
    _look(place, sweep)
    gate.touch()
    said += _plant(place, sweep, later)
    _look(place, sweep)
    try:
        _check_end(place, sweep)
    except BaseException:
        print(sweep, *said, sep="\n")
        raise
    place.redis.delete(keys.DEAD)


def _plant(place: Place, sweep: str, chosen: list[tuple[bool, int, int]]) -> list[str]:
    known = _known(place, sweep)
    said = []
    for is_wrong, number, seed in chosen:
        key = list(known)[number % len(known)]
        plant = plant_wrong_type if is_wrong else plant_bad_entry
        said.append(plant(place.redis, key, known[key], random.Random(seed)))
    return said


def test_every_command_answers_while_our_keys_hold_garbage_and_the_sweep_ends(cluster: Cluster, tmp_path: Path) -> None:
    """Before the first worker and submitter, and again in mid-sweep."""
    redis, chance = cluster.redis(), random.Random(7)
    place = Place(cluster, cluster.start_worker(), redis, tmp_path, tmp_path / "worker-one.log")
    kill_and_wait(place.worker)
    redis.set(keys.STORAGE, b"\xff not a token")
    for key, kind in {**PLAIN_KEYS, **QUEUE_KEYS}.items():
        plant_wrong_type(redis, key, kind, chance)
    sweep, gate = _submit(place)
    redis.set(keys.RECONCILER, "gone@nowhere")  # and for ever
    redis.hset(keys.WORKERS, mapping={"\x1b[31mred": "{", "two": '{"v": 1}', "three": "[" * 50_000})
    redis.delete(keys.DEAD)
    redis.lpush(keys.DEAD, "not JSON", '{"v": 1, "at": 1e400}', b"\xff\xfe")
    shell = cluster.shell(tmp_path / "project")
    for number in range(2):
        for key, kind in _known(place, sweep).items():
            plant = plant_bad_entry if number else plant_wrong_type
            plant(redis, key, kind, chance)
        _commands_answer(shell, sweep)
    place.worker = cluster.start_worker(name="two")
    gate.touch()
    _check_end(place, sweep)
    assert shell.json("sweep", "pipeline.yaml", "-p", "n=8,9", "-p", f"gate={gate}", "--json")["state"] == "succeeded"
    log = (tmp_path / "worker-two.log").read_text()
    assert "reconciliation" not in log and "feeding" not in log and "lease renewal" not in log, log


def _commands_answer(shell: Shell, sweep: str) -> None:
    for words in (
        ("status",),
        ("status", sweep),
        ("list",),
        ("doctor",),
        ("doctor", "--dead"),
        ("status", f"{sweep}.1"),
    ):
        done = shell(*words, exit_code=None)
        assert done.returncode in (0, 1), done.stderr
        assert "\x1b" not in done.stdout + done.stderr, "nothing of it reaches the terminal"


def test_a_sweep_whose_keys_hold_garbage_can_be_paused_resumed_and_cancelled(place: Place) -> None:
    sweep, gate = _submit(place)
    client, chance = place.cluster.client, random.Random(3)
    wait_until(Path(f"{gate}.began").exists, "the shared step is executed")
    for act in (client.pause_sweep, client.resume_sweep, client.cancel_sweep):
        for key, kind in keys_of_sweep(sweep, RUNS).items():
            plant_wrong_type(place.redis, key, kind, chance)
        act(sweep)
        _look(place, sweep)
    gate.touch()
    assert client.wait_sweep(sweep, GENEROUS_SECONDS).state == "cancelled"
    end = wait_until(lambda: _read(client.storage_root / "sweeps" / sweep / "end.json"), "its end is written down")
    assert end["counts"] == {"succeeded": 0, "failed": 0, "cancelled": RUNS}


def test_what_the_index_says_of_a_run_is_dropped_when_the_storage_does_not_say_so(place: Place) -> None:
    """Words of ours that are not true: a run that is said to have ended, a step that is said to be published."""
    sweep, gate = _submit(place)
    wait_until(Path(f"{gate}.began").exists, "the shared step is executed")
    place.redis.hset(f"pq1:run:{sweep}.1", "state", "succeeded")
    place.redis.hset(f"pq1:run:{sweep}.2", "train|state", "succeeded")
    place.redis.hset(f"pq1:sweep:{sweep}", mapping={"cursor": 99, "unstarted": -17, "succeeded": 803})
    place.redis.zadd(f"pq1:flight:{sweep}", {"1": 1e15, "77": 0})
    _look(place, sweep)
    gate.touch()
    _check_end(place, sweep)
