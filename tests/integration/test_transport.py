"""What kombu keeps besides its queues: an entry there that nobody can read holds up nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline_queue.contract.celery_app import make_app
from tests.bad_messages import UNREADABLE
from tests.conftest import Cluster

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "message.v1.json").read_text())


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unacknowledged_message_is_put_back_behind_one_that_nobody_can_read(cluster: Cluster, kind: str) -> None:
    redis = cluster.redis()
    # Entries are put back from the newest on.
    redis.hset("unacked", "forged", UNREADABLE[kind])
    redis.hset("unacked", "good", json.dumps([GOLDEN, "", "default"]))
    redis.zadd("unacked_index", {"good": 1, "forged": 2})
    app = make_app(cluster.settings.broker_url)
    try:
        with app.connection_for_read() as connection:
            connection.default_channel.qos.restore_visible()
    finally:
        app.close()
    assert (redis.hlen("unacked"), redis.zcard("unacked_index")) == (0, 0)
    entries = [json.loads(redis.lindex(name, 0)) for name in redis.keys("default*")]
    assert GOLDEN["headers"]["id"] in [entry.get("headers", {}).get("id") for entry in entries]
