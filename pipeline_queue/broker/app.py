"""The only Celery configuration, shared by the submitter, the workers and Flower."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from celery import Celery

from pipeline_queue.broker.signing import read_signing_key
from pipeline_queue.broker.transport import OurAMQP
from pipeline_queue.contract.settings import certificate_check

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
    # A server that is out of memory rejects writes: the worker reconnects until they succeed, instead of exiting.
    "broker_channel_error_retry": True,
    "broker_transport_options": {
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
}


def make_app(broker_url: str, signing_key_file: Path | None = None) -> Celery:
    """Create this project's Celery application, without connecting. Raises SettingsError for an unusable key.

    Its `signing_key` is the key that signs its messages, or None. It is not in `conf`, because Flower shows that.
    """
    app = Celery("pipeline_queue", broker=broker_url, amqp=OurAMQP, set_as_current=False)
    app.conf.update(_CONFIGURATION)
    app.signing_key = read_signing_key(signing_key_file) if signing_key_file else None
    if certificate := certificate_check(broker_url):
        app.conf.broker_use_ssl = certificate
    return app


def harmless_commands(queues: Iterable[str]) -> list[list[str]]:
    """Redis commands without effect, on the keys and channels that Celery needs in a worker of these queues.

    If the server denied one of them, Celery would exit with a traceback or retry for ever.
    """
    return [
        ["PING"],
        *(["LLEN", queue] for queue in queues),
        ["SREM", "_kombu.binding.celeryev", ""],
        ["PUBLISH", "/0.celeryev/worker.offline", ""],
    ]
