"""`cancel`, `worker`, `up`, `doctor` with the rejected messages: control runs and machines."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipeline_queue.cli.connection import (
    check_settings,
    data_folder,
    is_local,
    nearest_data_folder,
    reading,
    storage_root,
    tell_folder_above,
    threads_option,
)
from pipeline_queue.cli.printing import echo, echo_json, within_width
from pipeline_queue.client import Client
from pipeline_queue.contract.states import ENDED
from pipeline_queue.contract.wording import counted

if TYPE_CHECKING:
    from pipeline_queue.contract.settings import Settings

_FLOWER_PORT = 5555
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.argument("run")
@_JSON
def cancel(run: str, as_json: bool) -> None:
    """Cancel RUN, or a whole sweep: kill the process trees of running steps and start no more steps."""
    with reading() as client:
        if client.is_sweep(run):
            _cancel_sweep(client, run, as_json)
            return
        before = client.run(run)
        report = before if before.state in ENDED else client.cancel(before.run)
    if as_json:
        echo_json(report.model_dump_json(indent=2))
    elif before.state in ENDED:
        echo(
            f"{report.run} has already {report.state}"
            if report.state != "cancelled"
            else f"{report.run} is already cancelled"
        )
    else:
        echo(f"{report.run} {'cancelled' if report.state in ENDED else 'is being cancelled'}")


def _cancel_sweep(client: Client, sweep: str, as_json: bool) -> None:
    report = client.cancel_sweep(sweep)
    if as_json:
        echo_json(json.dumps(report.as_json(), indent=2))
        return
    running = report.counts["running"]
    left = f"; {running:,} {'run is' if running == 1 else 'runs are'} still stopping" if running else ""
    if report.state in ("cancelled", "running"):
        echo(f"{report.sweep} is cancelled{left}")
    else:
        echo(f"{report.sweep} has already {report.state}")


@click.command()
@click.option(
    "--slots", "-c", type=click.IntRange(1, 1024), help="Run this many steps at a time (default: one per CPU)."
)
@threads_option
@click.option("--queues", "-Q", default="default", show_default=True, help="Serve these queues (comma-separated).")
@click.option("--name", default=None, help="Use this node name; %h is the host (default: a unique name).")
@click.option("--no-wait", is_flag=True, help="Exit with 3 if the broker is unreachable, instead of waiting.")
@click.option(
    "--log-level", default="INFO", show_default=True, help="Log this level and above: DEBUG, INFO, WARNING, ERROR."
)
def worker(slots: int | None, queues: str, name: str | None, no_wait: bool, log_level: str) -> None:
    """Start a worker on this machine (`celery -A workers worker` with suitable options)."""
    from pipeline_queue.contract.settings import NO_WAIT, settings_from

    settings_from(os.environ)
    if no_wait:
        os.environ[NO_WAIT] = "1"
    count = slots or len(os.sched_getaffinity(0))
    command = [sys.executable, "-P", "-m", "workers", "worker", "--concurrency", str(count), "--queues", queues]
    node = name or f"worker-{os.getpid()}@%h"
    os.execv(sys.executable, [*command, "--hostname", node, "--loglevel", log_level.upper()])  # noqa: S606 - argv only


@click.command()
@click.option(
    "--slots", "-c", type=click.IntRange(1, 1024), help="Run this many steps at a time (default: one per CPU)."
)
@threads_option
@click.option(
    "--port",
    "--flower-port",
    "flower_port",
    type=click.IntRange(0, 65535),
    help="Serve Flower on this port; 0 picks a free one (default: 5555, or a free one if that is taken).",
)
@click.option("--no-flower", is_flag=True, help="Do not start Flower.")
def up(slots: int | None, flower_port: int | None, no_flower: bool) -> None:
    """Keep a private server, a worker and Flower running in this folder until Ctrl-C; `run` and `sweep` use them."""
    from pipeline_queue.contract.errors import InputError
    from pipeline_queue.local.service import Service, Wishes

    if not is_local():
        raise InputError("PIPELINE_QUEUE_BROKER_URL is set: unset it for `up`, or start `pipeline-queue worker`")
    tell_folder_above(data_folder())
    count = slots or len(os.sched_getaffinity(0))
    port = _FLOWER_PORT if flower_port is None else flower_port
    wishes = Wishes(slots=count, flower_port=None if no_flower else port, any_port=flower_port is None)
    service = Service(data_folder(), wishes, say=lambda text: echo(text, err=True))
    echo(f"starting in {data_folder().root} (Ctrl-C stops it)", err=True)
    if not service.serve():
        raise InputError(f"a service is already running in {data_folder().root}; `run` and `sweep` use it")
    echo("stopped; unfinished runs continue with the next `up` or `run`", err=True)


@click.command()
@click.option("--dead", is_flag=True, help="Show the messages that workers rejected, newest first.")
@click.option("--clear-dead", is_flag=True, help="Delete the rejected messages.")
@click.option("--adopt-storage", is_flag=True, help="Bind the broker to this storage instead of the one it knows.")
@_JSON
def doctor(dead: bool, clear_dead: bool, adopt_storage: bool, as_json: bool) -> None:
    """Check the broker, its persistence and eviction policy, the storage, versions, clocks and workers."""
    from pipeline_queue.contract.settings import settings_from
    from pipeline_queue.local.attach import running_service
    from pipeline_queue.reporting.doctor import examine

    check_settings()
    settings = None
    if not is_local():
        settings, storage = settings_from(os.environ), storage_root()
    else:
        data = nearest_data_folder()
        note, storage = running_service(data), data.storage
        settings = data.settings(note.broker_url) if note else None
    if dead or clear_dead:
        _dead_messages(settings, dead, clear_dead, as_json)
        return
    checks = examine(settings, storage, embedded=is_local(), adopt=adopt_storage)
    failed = any(check.state == "fail" for check in checks)
    if as_json:
        echo_json(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        signs = {"ok": "✓", "warn": "!", "fail": "✗"}
        for check in checks:
            echo(within_width(f"{signs[check.state]} {check.name}: {check.detail}"))
    sys.exit(3 if failed else 0)


def _dead_messages(settings: Settings | None, show: bool, clear: bool, as_json: bool) -> None:
    from pipeline_queue.contract.errors import BrokerError
    from pipeline_queue.index.run_index import RunIndex
    from pipeline_queue.reporting.doctor import shown_dead

    if settings is None:
        raise BrokerError("no broker: run `pipeline-queue up`, or set PIPELINE_QUEUE_BROKER_URL")
    run_index = RunIndex(settings.broker_url)
    try:
        found = run_index.dead.latest() if show else []
        removed = run_index.dead.clear() if clear else 0
    finally:
        run_index.close()
    if as_json:
        echo_json(json.dumps({"dead": [asdict(one) for one in found], "removed": removed}, indent=2))
        return
    for one in found:
        echo(f"{shown_dead(one)}\n  {one.payload}")
    echo(
        f"deleted {counted(removed, 'rejected message')}"
        if clear
        else f"{counted(len(found), 'rejected message')}; `doctor --clear-dead` deletes them"
    )
