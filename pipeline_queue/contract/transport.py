"""kombu's Redis transport with one client kept for each channel, and without its list of what is unacknowledged.

kombu makes a client object for every command it sends, about five for each task, and redis-py fills a table of
callbacks each time: a tenth of a worker's time on short steps. Clients are thread-safe and share the channel's pool
either way.

kombu also notes in Redis what each worker has taken, to deliver it again after the visibility timeout. Leases decide
who executes what, and the ledger finds what nobody claimed far sooner: redelivery brought only messages that come
twice, and cost two transactions a task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

logger = logging.getLogger(__name__)


class Taken(virtual.QoS):  # type: ignore[misc]
    """What a worker has taken from its queues and not ended, in its memory only: bounds how much it takes."""

    def restore_unacked(self) -> list[Any]:
        """Puts it back when the worker stops or loses its connection; what cannot be, is looked for by the ledger."""
        self._flush()
        try:
            for message in list(self._delivered.values()):
                self.channel._restore(message)
        except (*self.channel.connection_errors, OSError) as error:
            logger.warning("%d messages not put back: %s", len(self._delivered), error)
        self._delivered.clear()
        return []


class Channel(redis.Channel):  # type: ignore[misc]
    """The kept client is for commands sent at once only; the one that listens is kombu's own as before."""

    ack_emulation = False
    _kept: Any = None
    is_held: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = Taken

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if client is None:
            # kombu replaces the pool after a fork and when a connection is lost.
            if self._kept is None or self._kept.connection_pool is not self.pool:
                self._kept = self._create_client()
            client = self._kept
        yield client

    def _brpop_start(self, timeout: float | None = None) -> None:
        # Not `qos.can_consume`, which leaves a message that comes nevertheless unread in the socket.
        if not self.is_held():
            super()._brpop_start(timeout)


def hold_messages(is_held: Callable[[], bool]) -> None:
    """While that is true, channels of this process ask for no message; one that was asked for already may come."""
    Channel.is_held = staticmethod(is_held)


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel


def use_our_transport() -> None:
    """Has `redis://`, `rediss://` and `redis+socket://` URLs of this process use this transport."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
