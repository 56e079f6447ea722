"""A process of somebody else, with a Celery application of its own, that also uses `Client`: prints what it saw.

`python -m tests.integration.host_process FOREIGN_URL FOLDER`; the settings of the client are in the environment.
"""

from __future__ import annotations

import atexit
import decimal
import faulthandler
import gc
import json
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUEUE = "foreign"
POOL_LIMIT = 3


def process_state() -> dict[str, Any]:
    """What all code of a process shares, as text or numbers that compare."""
    return {
        "signals": {number.name: repr(signal.getsignal(number)) for number in signal.valid_signals() if _named(number)},
        "blocked signals": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "wakeup descriptor": _wakeup_descriptor(),
        "timers": [signal.getitimer(timer) for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL)],
        "logging": _logging_state(),
        "garbage collection": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), gc.get_debug()],
        "switch interval": sys.getswitchinterval(),
        "recursion limit": sys.getrecursionlimit(),
        "warnings": [repr(one) for one in warnings.filters],
        "show warning": repr(warnings.showwarning),
        "paths": [list(sys.path), [repr(one) for one in sys.meta_path], [repr(one) for one in sys.path_hooks]],
        "arguments": list(sys.argv),
        "environment": dict(os.environ),
        "working folder": str(Path.cwd()),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": _umask(),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
        "hooks": [repr(one) for one in (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook)],
        "traces": [repr(one) for one in (sys.gettrace(), sys.getprofile())],
        "faulthandler": faulthandler.is_enabled(),
        "streams": [repr(one) for one in (sys.stdin, sys.stdout, sys.stderr)],
        "decimal": repr(decimal.getcontext()),
        "random": hash(random.getstate()),
        "sockets": socket.getdefaulttimeout(),
        "temporary files": tempfile.gettempdir(),
        "processes": multiprocessing.get_start_method(allow_none=True),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        **_celery_state(),
    }


def _named(number: int) -> bool:
    return isinstance(number, signal.Signals)


def _wakeup_descriptor() -> int:
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return descriptor


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _logging_state() -> dict[str, Any]:
    """Of the whole, and of each logger that does anything: one that was only asked for, or drops all, changes nothing."""
    loggers = {"root": logging.getLogger()} | {
        name: one for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)
    }
    acting = {}
    for name, logger in loggers.items():
        handlers = [repr(one) for one in logger.handlers if not isinstance(one, logging.NullHandler)]
        facts = (logger.level, handlers, logger.disabled, len(logger.filters), logger.propagate)
        if facts != (logging.NOTSET, [], False, 0, True):
            acting[name] = facts
    whole = [logging.root.manager.disable, repr(logging.getLoggerClass()), repr(logging.getLogRecordFactory())]
    return {"loggers": acting, "whole": [*whole, logging.raiseExceptions]}


def _celery_state() -> dict[str, Any]:
    from celery import _state
    from kombu import pools
    from kombu.transport import TRANSPORT_ALIASES, get_transport_cls

    return {
        "kombu's transports": {**TRANSPORT_ALIASES, "resolved": repr(get_transport_cls("redis"))},
        "kombu's limit of connections": pools.get_limit(),
        "current application": repr(_state.get_current_app()),
        "applications": sorted(app.main for app in _state._get_active_apps()),
    }


def exit_functions() -> int:
    return int(atexit._ncallbacks())


class Foreign:
    """An application on a broker of its own, that was there first."""

    def __init__(self, url: str) -> None:
        from celery import Celery

        self._app = Celery("foreign", broker=url)
        self._app.conf.update(broker_pool_limit=POOL_LIMIT, task_default_queue=QUEUE)

    def exchange(self, word: str) -> dict[str, Any]:
        """Sends a task and takes it from the queue; how."""
        with self._taken_from_pool() as pooled:
            sender = _module(pooled.transport)
        self._app.send_task("foreign.task", args=(word,))
        with self._app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
            message = queue.get(timeout=60)
            # kombu's own transport notes in Redis what was taken and not acknowledged, ours does not.
            unacknowledged = connection.default_channel.client.hlen("unacked")
            message.ack()
            body = message.payload
            return {
                "sent by": sender,
                "taken by": _module(connection.transport),
                "channel": _module(connection.default_channel),
                "unacknowledged": unacknowledged,
                "arguments": body[0],
            }

    @contextmanager
    def _taken_from_pool(self) -> Iterator[Any]:
        with self._app.producer_pool.acquire(block=True) as producer:
            yield producer.connection


def _module(thing: Any) -> str:
    return str(type(thing).__module__)


def use_client(folder: Path) -> dict[str, Any]:
    """Submits to a broker, and reads what there is; the state while the client is open."""
    from pipeline_queue.client import Client

    with Client.connect() as client:
        run = client.submit(client.load(folder / "pipeline.yaml"), {"learning_rate": 0.25})
        client.run(run)
        client.serve_queues({"more"})
        client.sweep(run.partition(".")[0])
        client.cancel(run)
        return process_state()


def use_local_client(folder: Path) -> dict[str, Any]:
    """Has the embedded server and worker execute a run; the state while they are there."""
    from pipeline_queue.client import Client

    with Client.local(folder, slots=1) as client:
        run = client.submit(client.load(folder / "pipeline.yaml"), {"learning_rate": 0.25})
        client.wait(run, timeout_seconds=100, check=True)
        client.results(run.partition(".")[0])
        return process_state()


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    foreign = Foreign(url)
    seen: dict[str, Any] = {"exchange before": foreign.exchange("before")}
    process_state()
    seen["before"], exits = process_state(), exit_functions()
    import pipeline_queue.client  # noqa: F401

    seen["imported"] = process_state()
    seen["in use"] = use_client(folder)
    seen["in local use"] = use_local_client(folder)
    seen["closed"] = process_state()
    seen["new exit functions"] = exit_functions() - exits
    seen["exchange after"] = foreign.exchange("after")
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
