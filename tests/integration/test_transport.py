"""Messages that were taken are put back when a connection is lost; one that is closed already ends nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_queue.broker.app import make_app
from pipeline_queue.local.server import start_server


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
