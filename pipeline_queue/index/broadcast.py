"""Tells live workers to serve more queues, from any process and without a Celery application.

Celery has one connection limit per process; an application of ours would change it for other applications.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.contract.settings import certificate_check, without_password
from pipeline_queue.index.connection import broker_errors

_NAMESPACE = "celery"
_TRANSPORT_OPTIONS = {
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "max_retries": 2,
    "interval_start": 0.1,
    "interval_max": 0.5,
}


def serve_queues(broker_url: str, queues: Iterable[str]) -> None:
    """Make every live worker of the broker that accepts such commands serve these queues too. Raises BrokerError."""
    from kombu import Connection
    from kombu.exceptions import OperationalError
    from kombu.pidbox import Mailbox

    # What Celery's own `control.add_consumer` sends.
    mailbox = Mailbox(_NAMESPACE, type="fanout", accept=["json"], serializer="json")
    orders = [
        {"queue": queue, "exchange": None, "exchange_type": "direct", "routing_key": None} for queue in sorted(queues)
    ]
    if not orders:
        return
    try:
        with (
            broker_errors(broker_url),
            Connection(
                broker_url, ssl=certificate_check(broker_url) or False, transport_options=_TRANSPORT_OPTIONS
            ) as connection,
        ):
            bound = mailbox(connection)
            for order in orders:
                bound.abcast("add_consumer", order)
    except OperationalError as error:
        raise BrokerError(f"the broker {without_password(broker_url)} cannot be reached: {error}") from error
