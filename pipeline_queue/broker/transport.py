"""kombu's Redis transport with one client kept for each channel, no list of what is unacknowledged, and no message that
can end it.

kombu makes a client object for every command it sends, about five for each task, and redis-py fills a table of
callbacks each time: a tenth of a worker's time on short steps. Clients are thread-safe and share the channel's pool
either way.

kombu also notes in Redis what each worker has taken, to deliver it again after the visibility timeout. Leases decide
who executes what, and the index finds what nobody claimed far sooner: redelivery brought only messages that come
twice, and cost two transactions a task.
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
"""Between two attempts to connect to a broker that is away."""


class Taken(virtual.QoS):  # type: ignore[misc]
    """What a worker has taken from its queues and not ended, in its memory only: bounds how much it takes."""

    def restore_unacked(self) -> list[Any]:
        """Puts it back when the worker stops or loses its connection; what cannot be, is looked for by the index."""
        self._flush()
        try:
            for message in list(self._delivered.values()):
                self.channel._restore(message)
        except (*self.channel.connection_errors, OSError, AttributeError) as error:
            # The last is kombu's on a connection that was closed and has lost its pool.
            logger.warning("%d messages not put back: %s", len(self._delivered), error)
        self._delivered.clear()
        return []


Screen = Callable[[str, bytes], bool]
"""Whether an entry taken from the list of a queue goes on to kombu."""


_UNREADABLE = (TypeError, ValueError, AttributeError, LookupError, RecursionError)
"""What kombu lets through of a message that it cannot read."""


class Channel(redis.Channel):  # type: ignore[misc]
    """The kept client is for commands sent at once only; the one that listens is kombu's own as before."""

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
            # kombu replaces the pool after a fork and when a connection is lost.
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
        """Asks for what lies where messages of our queues should: a client that mends removes what is no list."""
        with self.conn_or_acquire() as client:
            for queue in self.active_queues:
                for priority in self.priority_steps:
                    client.llen(self._q_for_pri(queue, priority))

    def _receive_one(self, c: Any) -> Any:
        """What is published to all workers: they would all end at once."""
        try:
            return super()._receive_one(c)
        except _UNREADABLE as error:
            logger.error("passed over a broadcast that cannot be read: %s", type(error).__name__)
            return None

    def _brpop_start(self, timeout: float | None = None) -> None:
        # Not `qos.can_consume`, which leaves a message that comes nevertheless unread in the socket.
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
        # A list's name is the queue's, or that with a priority behind it.
        queue = reply[0].decode(errors="replace").rsplit(separator, 1)[0]
        # None is what kombu takes for a list in which nothing came.
        return reply if screen(queue, reply[1]) else None

    return parse


def pause_messages(is_held: Callable[[], bool]) -> None:
    """While that is true, channels of this process ask for no message; one that was asked for already may come."""
    Channel.is_held = staticmethod(is_held)


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel


class _ByOurTransport:
    """A connection by our transport. kombu's table of transports is left alone: other Celery applications use it."""

    def get_transport_cls(self) -> type[Transport]:
        return Transport

    def _ensure_connection(self, errback: Any = None, max_retries: int | None = None, **options: Any) -> Any:
        """Tries again every second. kombu waits longer each time, up to 30 s: a broker that has been away for two
        minutes would stand idle for half of one once it is back.

        `options` are kombu's; whoever gives intervals keeps theirs.
        """
        steady = {"interval_start": RETRY_SECONDS, "interval_step": 0, "interval_max": RETRY_SECONDS}
        return super()._ensure_connection(errback, max_retries, **{**steady, **options})  # type: ignore[misc]

    def __eqhash__(self) -> Any:
        """kombu pools equal connections of all applications of a process: ours equal no others."""
        return HashedSeq(__name__, *super().__eqhash__())  # type: ignore[misc]

    def Pool(self, limit: int | None = None, **options: Any) -> _Pool:  # noqa: N802
        return _Pool(self, limit, **options)


class Connection(_ByOurTransport, connection.Connection):  # type: ignore[misc]
    """What an application of ours connects by."""


class _PooledConnection(_ByOurTransport, connection.PooledConnection):  # type: ignore[misc]
    """The same, of a pool."""


class _Pool(connection.ConnectionPool):  # type: ignore[misc]
    def new(self) -> _PooledConnection:
        return _PooledConnection(self, **dict(self.connection._info(resolve=False)))


class OurAMQP(AMQP):  # type: ignore[misc]
    """Has a Celery application make our connections."""

    Connection = BrokerConnection = Connection


def screen_messages(screen: Screen) -> None:
    """Has every message that this process takes from a queue looked at first. For workers, before they connect."""
    Channel.screen = staticmethod(screen)


def use_client_class(client_class: type[Redis]) -> None:
    """Has channels of this process send their commands by such clients. For workers, before they connect."""
    Channel.client_class = client_class
