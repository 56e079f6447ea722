"""The baseline: a Celery chain written by hand with every setting that is advised against loss.

`celery -A tests.faults.plain_chain worker`. A step works in a folder of its own, which is then renamed to where its
outputs belong, in place of what is there: the most that one does by hand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from celery import Celery, chain

_VISIBILITY_SECONDS = 20


def _application(url: str | None) -> Celery:
    app = Celery("plain_chain", broker=url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": _VISIBILITY_SECONDS},
    )
    return app


app = _application(os.environ.get("FAULT_LAB_BROKER"))


@app.task(name="run_step")
def run_step(argv: list[str]) -> None:
    """argv is `python step.py STEP N SECONDS`."""
    _, _, step, run, _ = argv
    runs = Path(os.environ["FAULT_LAB_STORAGE"]) / "runs"
    runs.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".work-", dir=runs))
    (work / "outputs").mkdir()
    for earlier in (runs / run).glob("*/outputs/*"):
        shutil.copy(earlier, work)
    subprocess.run(argv, cwd=work, check=True, env={**os.environ, "FAULT_LAB_STEP": step})
    (work / f"{step}.out").rename(work / "outputs" / f"{step}.out")
    target = runs / run / step
    target.parent.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)


def submit(url: str, chains: list[list[list[str]]]) -> None:
    sender = _application(url)
    for commands in chains:
        chain(sender.signature("run_step", args=(argv,), immutable=True) for argv in commands).apply_async()
    sender.close()
