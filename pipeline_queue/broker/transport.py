"""kombu's Redis transport, with one client per channel, no list of unacknowledged messages, and no crash on bad ones.

kombu creates a client object for every command, about five per task, and redis-py fills a table of callbacks each time.
With short steps this took a tenth of a worker's time. Clients are thread-safe and share the channel's pool in either
case.

kombu also records in Redis what each worker has taken, and redelivers it after the visibility timeout. Leases decide
who executes what, and the index finds unclaimed messages far sooner. Redelivery only produced duplicates, and cost two
transactions per task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.app.amqp import AMQP
from kombu import connection
from kombu.transport import redis, virtual
from kombu.utils.collections import HashedSeq
from redis import Redis
from redis.exceptions import ResponseError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Between two attempts to connect to an unreachable broker."""


class Taken(virtual.QoS):  # type: ignore[misc]
    """The messages that a worker has taken and not finished. Limits how many it takes; kept in its memory only."""

    def restore_unacked(self) -> list[Any]:
        """Put them back when the worker stops or loses its connection. The index finds those that it cannot return."""
        self._flush()
        try:
            for message in list(self._delivered.values()):
                self.channel._restore(message)
        except (*self.channel.connection_errors, OSError, AttributeError) as error:
            # kombu raises AttributeError on a closed connection that has lost its pool.
            logger.warning("could not put back %d messages: %s", len(self._delivered), error)
        self._delivered.clear()
        return []


Screen = Callable[[str, bytes], bool]
"""Takes a queue's name and an entry of its list; returns whether to pass the entry to kombu."""


_UNREADABLE = (TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""The exceptions that kombu does not catch when it cannot read a message."""


class Channel(redis.Channel):  # type: ignore[misc]
    """Keeps one client for commands that return at once; kombu still creates the client that listens."""

    ack_emulation = False
    screen: Screen | None = None
    _kept: Any = None
    is_held: Callable[[], bool] = staticmethod(lambda: False)
    client_class: type[Redis] = Redis

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.QoS = Taken

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        if client is None:
            # kombu replaces the pool after a fork and after losing a connection.
            if self._kept is None or self._kept.connection_pool is not self.pool:
                self._kept = self._create_client()
            client = self._kept
        yield client

    def _get_client(self) -> Any:
        usual = super()._get_client()
        return Channel.client_class if usual is Redis else usual

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        if asynchronous and Channel.screen is not None:
            client.parse_response = _screened(client.parse_response, Channel.screen, self.sep, self._drop_no_lists)
        return client

    def _drop_no_lists(self) -> None:
        """Query each list of our queues: a MendingRedis client then drops keys that are not lists."""
        with self.conn_or_acquire() as client:
            for queue in self.active_queues:
                for priority in self.priority_steps:
                    client.llen(self._q_for_pri(queue, priority))

    def _receive_one(self, c: Any) -> Any:
        """Skip a broadcast that kombu cannot read: it would crash all workers at once."""
        try:
            return super()._receive_one(c)
        except _UNREADABLE as error:
            logger.error("skipped an unreadable broadcast: %s", type(error).__name__)
            return None

    def _brpop_start(self, timeout: float | None = None) -> None:
        # Not `qos.can_consume`: that leaves a message which still arrives unread in the socket.
        if not self.is_held():
            super()._brpop_start(timeout)


def _screened(
    parse_response: Callable[..., Any], screen: Screen, separator: str, drop_no_lists: Callable[[], None]
) -> Callable[..., Any]:
    def parse(connection: Any, command_name: str, **options: Any) -> Any:
        try:
            reply = parse_response(connection, command_name, **options)
        except ResponseError as error:
            if command_name != "BRPOP" or not str(error).startswith("WRONGTYPE"):
                raise
            drop_no_lists()
            return None
        if command_name != "BRPOP" or not reply:
            return reply
        # A list's name is the queue's name, perhaps followed by a priority.
        queue = reply[0].decode(errors="replace").rsplit(separator, 1)[0]
        # kombu takes None to mean that no message arrived.
        return reply if screen(queue, reply[1]) else None

    return parse


def pause_messages(is_held: Callable[[], bool]) -> None:
    """While `is_held` returns True, this process requests no messages; one already requested may still arrive."""
    Channel.is_held = staticmethod(is_held)


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel


class _ByOurTransport:
    """A connection that uses our transport. It does not change kombu's table of transports, which other apps use."""

    def get_transport_cls(self) -> type[Transport]:
        return Transport

    def _ensure_connection(self, errback: Any = None, max_retries: int | None = None, **options: Any) -> Any:
        """Retry every second. kombu waits longer each time, up to 30 s: after a two-minute outage, workers could stay
        idle for another 30 s once the broker is back.

        `options` are kombu's; a caller's own intervals take precedence.
        """
        steady = {"interval_start": RETRY_SECONDS, "interval_step": 0, "interval_max": RETRY_SECONDS}
        return super()._ensure_connection(errback, max_retries, **{**steady, **options})  # type: ignore[misc]

    def __eqhash__(self) -> Any:
        """Differs from other applications' hashes, because kombu pools equal connections within a process."""
        return HashedSeq(__name__, *super().__eqhash__())  # type: ignore[misc]

    def Pool(self, limit: int | None = None, **options: Any) -> _Pool:  # noqa: N802
        return _Pool(self, limit, **options)


class Connection(_ByOurTransport, connection.Connection):  # type: ignore[misc]
    """The connection class of our applications."""


class _PooledConnection(_ByOurTransport, connection.PooledConnection):  # type: ignore[misc]
    """The same for a connection in a pool."""


class _Pool(connection.ConnectionPool):  # type: ignore[misc]
    def new(self) -> _PooledConnection:
        return _PooledConnection(self, **dict(self.connection._info(resolve=False)))


class OurAMQP(AMQP):  # type: ignore[misc]
    """Makes a Celery application use our connection class."""

    Connection = BrokerConnection = Connection


def screen_messages(screen: Screen) -> None:
    """Screen every message that this process takes from a queue. Workers call this before they connect."""
    Channel.screen = staticmethod(screen)


def use_client_class(client_class: type[Redis]) -> None:
    """Make this process's channels send commands with this client class. Workers call this before they connect."""
    Channel.client_class = client_class
