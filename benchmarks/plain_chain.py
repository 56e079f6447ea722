"""The Celery chain that one would write by hand for the same work: `celery -A benchmarks.plain_chain worker`."""

from __future__ import annotations

import functools
import os
import subprocess

from celery import Celery, chain
from redis import Redis

app = Celery("plain_chain", broker=os.environ.get("PLAIN_CHAIN_BROKER"))
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
)


@functools.cache
def counter() -> Redis:
    return Redis.from_url(os.environ["PLAIN_CHAIN_COUNTER"])


@app.task
def run_step(argv: list[str], folder: str, is_last: bool) -> None:
    subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    if is_last:
        counter().incr("ended")


def submit(commands: list[list[str]], folder: str) -> None:
    last = len(commands) - 1
    chain(run_step.si(argv, folder, number == last) for number, argv in enumerate(commands)).apply_async()
