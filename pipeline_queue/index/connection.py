"""Connects to Redis, the only place that does: the broker's URL -> a client, whose errors become BrokerError."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.contract.settings import without_password

if TYPE_CHECKING:
    from redis import Redis

    from pipeline_queue.index.mending import MendingRedis

_TIMEOUT_SECONDS = 5.0


def connect(broker_url: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> MendingRedis:
    """Create a client with its own connection pool; sends nothing yet.

    Bytes that are not UTF-8 become lone surrogates when read, and the original bytes when written. Otherwise one such
    entry would make every read of its key fail.
    """
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry

    from pipeline_queue.index.mending import MendingRedis

    client: MendingRedis = MendingRedis.from_url(  # type: ignore[assignment]
        _as_redis_url(broker_url),
        decode_responses=True,
        encoding_errors="surrogateescape",
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
    )
    return client


def server_time(redis: Redis) -> float:
    """Redis' clock in Unix seconds. Raises what redis-py raises."""
    seconds, micros = redis.time()
    return float(seconds) + float(micros) / 1e6


def answers(broker_url: str) -> bool:
    """Whether a server responds and accepts our credentials."""
    from redis.exceptions import RedisError

    client = connect(broker_url, timeout_seconds=1.0)
    try:
        client.ping()
    except (RedisError, OSError):
        return False
    finally:
        client.close()
    return True


@contextmanager
def broker_errors(broker_url: str) -> Iterator[None]:
    """Turn redis-py's exceptions into BrokerError, with the broker's address and the remedy."""
    from redis.exceptions import ConnectionError, RedisError

    try:
        yield
    except (RedisError, TimeoutError) as error:
        shown = without_password(broker_url)
        refusal = _refusal(error)
        if refusal:
            raise BrokerError(f"the broker {shown} {refusal}") from error
        if isinstance(error, ConnectionError | TimeoutError):
            raise BrokerError(f"the broker {shown} cannot be reached: {error} (is it running?)") from error
        raise BrokerError(f"the broker {shown} refused: {error}") from error


def check_access(broker_url: str, commands: Sequence[Sequence[str]]) -> None:
    """Send commands without effect, to check that this user may run them.

    Raises BrokerError for a lasting error: a rejected password, certificate or command. Does not raise when the server
    is unreachable.
    """
    from redis.exceptions import RedisError

    client = connect(broker_url)
    try:
        for command in commands:
            try:
                client.execute_command(*command)
            except RedisError as error:
                refusal = _refusal(error)
                if refusal:
                    text = f"the broker {without_password(broker_url)} {refusal} (tried: {' '.join(command[:2])})"
                    raise BrokerError(text) from error
                return
    finally:
        client.close()


def _refusal(error: Exception) -> str:
    """Cause and remedy of an error that waiting does not fix, or '' for any other error."""
    from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

    if isinstance(error, NoPermissionError):
        return f"does not permit its user what is needed here: {error}; docs/how-to/redis.md has the rules"
    if isinstance(error, AuthenticationError | AuthorizationError):
        return f"refused the password or user: {error}; check PIPELINE_QUEUE_BROKER_URL"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    return (
        f"shows a certificate that is not to be trusted: {cause.verify_message}; for an authority of your own add "
        "?ssl_ca_certs=/path/of/ca.pem to PIPELINE_QUEUE_BROKER_URL"
    )


def _as_redis_url(url: str) -> str:
    """Celery writes a Unix socket as `redis+socket:///path?virtual_host=1`, redis-py as `unix:///path?db=1`."""
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    query = parse_qs(parts.query)
    database = query.get("virtual_host", ["0"])[0]
    # Not urlunsplit: it omits the slashes of an empty host.
    return f"unix://{parts.netloc}{parts.path}?{urlencode({'db': database})}"
