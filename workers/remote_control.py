"""Celery's remote control in a worker: questions are answered, orders are refused, secrets are left out of answers.

Whoever reaches the broker can send such orders; unlike messages they are not signed, and a worker that was told to
consume nothing looks well to everybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.worker.control import Panel

from pipeline_queue.contract.settings import REMOTE_CONTROL, RemoteControl, without_password

logger = logging.getLogger(__name__)

HARMLESS = frozenset(
    {
        "ping", "stats", "report", "conf", "dump_conf", "clock", "active", "dump_active", "reserved", "dump_reserved",
        "scheduled", "dump_schedule", "revoked", "dump_revoked", "registered", "dump_tasks", "active_queues",
        "query_task", "heartbeat", "enable_events",
    }
)  # fmt: skip
"""Not `hello`, which revokes tasks, nor `objgraph` and `memdump`, which write files and take long."""

_OF_QUEUES = frozenset({"add_consumer"})
_SHOWN_OF_BROKER = (
    "hostname",
    "port",
    "transport",
    "virtual_host",
    "userid",
    "uri_prefix",
    "heartbeat",
    "connect_timeout",
)

Handler = Callable[..., Any]


def restrict(allowed: RemoteControl) -> None:
    """Has this process refuse the commands that are not allowed. Before it connects, or after: it holds at once."""
    permitted = HARMLESS | (_OF_QUEUES if allowed == "queues" else frozenset())
    for name, handler in list(Panel.data.items()):
        if allowed != "all" and name not in permitted:
            Panel.data[name] = _refusing(name)
        elif name == "stats":
            Panel.data[name] = _without_secrets(handler)


def _refusing(name: str) -> Handler:
    def refuse(state: Any, **_: Any) -> dict[str, str]:
        logger.warning("refused remote control command=%s", name)
        return {"error": f"workers of pipeline_queue refuse '{name}'; {REMOTE_CONTROL}=1 has them take it"}

    return refuse


def _without_secrets(stats: Handler) -> Handler:
    """kombu keeps a socket's URL whole, password and all, as the name of its host."""

    def told(state: Any, **arguments: Any) -> Any:
        answer = stats(state, **arguments)
        broker = answer.get("broker")
        if isinstance(broker, dict):
            shown = {name: broker[name] for name in _SHOWN_OF_BROKER if name in broker}
            answer["broker"] = {
                name: without_password(value) if isinstance(value, str) and "://" in value else value
                for name, value in shown.items()
            }
        return answer

    return told
