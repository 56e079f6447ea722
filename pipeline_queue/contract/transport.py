"""kombu's Redis transport with one client kept for each channel.

kombu makes a client object for every command it sends, about five for each task, and redis-py fills a table of
callbacks each time: a tenth of a worker's time on short steps. Clients are thread-safe and share the channel's pool
either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):  # type: ignore[misc]
    """Only for commands sent at once; the client that listens is kombu's own as before."""

    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if client is None:
            # kombu replaces the pool after a fork and when a connection is lost.
            if self._kept is None or self._kept.connection_pool is not self.pool:
                self._kept = self._create_client()
            client = self._kept
        yield client


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel


def use_kept_clients() -> None:
    """Has `redis://` and `redis+socket://` URLs of this process use this transport."""
    TRANSPORT_ALIASES["redis"] = f"{__name__}:Transport"
