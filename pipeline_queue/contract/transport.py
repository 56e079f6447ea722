"""kombu's Redis transport with one client kept for each channel, that no unreadable message can end.

kombu makes a client object for every command it sends, about five for each task, and redis-py fills a table of
callbacks each time: a tenth of a worker's time on short steps. Clients are thread-safe and share the channel's pool
either way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

logger = logging.getLogger(__name__)

Screen = Callable[[str, bytes], bool]
"""Whether an entry taken from the list of a queue goes on to kombu."""


_UNREADABLE = (TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""What kombu lets through of a message that it cannot read."""


class QoS(redis.QoS):  # type: ignore[misc]
    def restore_by_tag(self, tag: bytes, client: Any = None, leftmost: bool = False) -> None:
        """Left to itself one unreadable entry keeps kombu from putting back those behind it."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _UNREADABLE as error:
            logger.error("dropped an unacknowledged message that cannot be read: %s", type(error).__name__)
            self._remove_from_indices(tag).execute()


class Channel(redis.Channel):  # type: ignore[misc]
    """Only for commands sent at once; the client that listens is kombu's own as before."""

    QoS = QoS
    screen: Screen | None = None
    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if client is None:
            # kombu replaces the pool after a fork and when a connection is lost.
            if self._kept is None or self._kept.connection_pool is not self.pool:
                self._kept = self._create_client()
            client = self._kept
        yield client

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        if asynchronous and Channel.screen is not None:
            client.parse_response = _screened(client.parse_response, Channel.screen, self.sep)
        return client

    def _receive_one(self, c: Any) -> Any:
        """What is published to all workers: they would all end at once."""
        try:
            return super()._receive_one(c)
        except _UNREADABLE as error:
            logger.error("passed over a broadcast that cannot be read: %s", type(error).__name__)
            return None


def _screened(parse_response: Callable[..., Any], screen: Screen, separator: str) -> Callable[..., Any]:
    def parse(connection: Any, command_name: str, **options: Any) -> Any:
        reply = parse_response(connection, command_name, **options)
        if command_name != "BRPOP" or not reply:
            return reply
        # A list's name is the queue's, or that with a priority behind it.
        queue = reply[0].decode(errors="replace").rsplit(separator, 1)[0]
        # None is what kombu takes for a list in which nothing came.
        return reply if screen(queue, reply[1]) else None

    return parse


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel


def use_kept_clients() -> None:
    """Has `redis://`, `rediss://` and `redis+socket://` URLs of this process use this transport."""
    for alias in ("redis", "rediss"):
        TRANSPORT_ALIASES[alias] = f"{__name__}:Transport"


def screen_messages(screen: Screen) -> None:
    """Has every message that this process takes from a queue looked at first. For workers, before they connect."""
    Channel.screen = staticmethod(screen)
