"""Rings again what the storage knows as unfinished: after a server came back empty, nothing accepted is lost."""

from __future__ import annotations

from pipeline_queue.canvas import ring
from pipeline_queue.contract.celery_app import make_app
from pipeline_queue.contract.errors import NotFoundError
from pipeline_queue.contract.ledger import Ledger
from pipeline_queue.contract.settings import Settings
from pipeline_queue.contract.storage import Storage
from pipeline_queue.planner import remaining
from pipeline_queue.sweep import Sweep


def resume_unfinished(settings: Settings, storage: Storage, ledger: Ledger) -> int:
    """Rings every run of the storage that has not ended; how many there were. Raises BrokerError, StorageError."""
    app = make_app(settings.broker_url)
    unfinished = 0
    for name in storage.sweeps():
        try:
            sweep = Sweep.read(storage, name)
        except NotFoundError:
            continue  # its submitter was stopped before the commit point: it does not exist
        for index in range(len(sweep.space)):
            run = sweep.run_id(index)
            names = sweep.paths(storage, run).names()
            todo = remaining(sweep.pipeline, run, sweep.parameters(run), names)
            if todo:
                ledger.open_run(run)
                ring(app, sweep.pipeline, todo)
                unfinished += 1
    return unfinished
