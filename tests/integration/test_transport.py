"""Our transport: put-back messages, other applications beside it, and Celery's own commands by it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery
from kombu import pools
from kombu.transport import redis

from pipeline_queue.broker.app import make_app
from pipeline_queue.broker.transport import Transport
from pipeline_queue.local.server import start_server
from tests.conftest import GENEROUS_SECONDS, Cluster, plain_environment


@pytest.mark.parametrize("closed", ["transport", "channel"])
def test_putting_back_on_a_closed_connection_raises_nothing(tmp_path: Path, closed: str) -> None:
    server = start_server(tmp_path / "server.log")
    try:
        connection = make_app(server.broker_url).connection_for_read()
        queue = connection.SimpleQueue("default")
        queue.put({"a": 1})
        message = queue.get(block=True, timeout=30)
        channel = message.channel
        channel._disconnect_pools()
        if closed == "transport":
            # What Celery does when the broker goes away while it puts messages back.
            connection.transport.client = None
        else:
            channel.closed = True
        assert channel.qos._delivered
        assert channel.qos.restore_unacked() == []
        assert not channel.qos._delivered
    finally:
        server.stop()


@pytest.mark.parametrize("url", ["redis://nowhere/0", "rediss://nowhere/0", "redis+socket:///nowhere"])
def test_another_application_on_the_same_broker_keeps_its_own_connections(url: str) -> None:
    ours, theirs = make_app(url), Celery("theirs", broker=url, set_as_current=False)
    theirs.conf.broker_transport_options = ours.conf.broker_transport_options
    theirs.conf.broker_use_ssl = ours.conf.broker_use_ssl
    with ours.connection_for_read() as mine, theirs.connection_for_read() as other, mine.clone() as again:
        assert type(mine.transport) is type(again.transport) is Transport
        assert type(other.transport) is redis.Transport
        assert mine.as_uri() == again.as_uri() == other.as_uri()
        assert pools.connections[mine] is not pools.connections[other]
        with ours.pool.acquire() as pooled, theirs.pool.acquire() as other_pooled:
            assert type(pooled.transport) is Transport
            assert type(other_pooled.transport) is redis.Transport


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("inspect", "ping"), "pong"),
        (("status",), "1 node online"),
        (("purge", "--force"), "No messages purged"),
        (("amqp", "queue.declare", "default"), "OK"),
    ],
)
def test_commands_of_celery_work_by_our_transport(cluster: Cluster, words: tuple[str, ...], answer: str) -> None:
    if words[0] in ("inspect", "status"):
        cluster.start_worker()
    environment = plain_environment(**cluster.settings.environment())
    command = [sys.executable, "-m", "celery", "-A", "workers", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GENEROUS_SECONDS)
    assert answer in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
