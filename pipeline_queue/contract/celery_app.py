"""The only Celery configuration: what the submitter, the workers and Flower share."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from celery import Celery

from pipeline_queue.contract.transport import use_our_transport

DEFAULT_QUEUE = "default"

_CONFIGURATION: dict[str, object] = {
    "task_default_queue": DEFAULT_QUEUE,
    "task_create_missing_queues": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "result_backend": None,
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    "worker_pool": "threads",
    "worker_send_task_events": True,
    "worker_hijack_root_logger": True,
    "worker_redirect_stdouts": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # A server that is out of memory refuses writes: connected to anew until it takes them, instead of an exit.
    "broker_channel_error_retry": True,
    "broker_transport_options": {
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
}


def make_app(broker_url: str) -> Celery:
    """A Celery application of this project; connects to nothing yet."""
    use_our_transport()
    app = Celery("pipeline_queue", broker=broker_url, set_as_current=False)
    app.conf.update(_CONFIGURATION)
    if urlsplit(broker_url).scheme == "rediss":
        # Left alone Celery accepts any certificate; `ssl_…` options in the URL still win.
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return app
