"""Sweeps that have ended, without anything executed: written by the product's own code, in the order a worker does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.site import Site
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import OutputFile, StepRecord, SweepEnd
from pipeline_queue.contract.states import RunState
from pipeline_queue.index.live_sweeps import Opening
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.model.failure_causes import cause_of, grouped
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.runs import StepFiles, end_of_run
from pipeline_queue.storage.access import make_folder
from pipeline_queue.storage.run_store import StoredRun
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.submission import prepare_sweep

_METRICS = "metrics.json"
_FAILED = (
    "step {step} failed with exit code 1; the log ends with:\n"
    "  Traceback (most recent call last):\n"
    '    File "train.py", line 12, in <module>\n'
    "      fit(n={index})\n"
    "  ValueError: the loss is nan after {index} epochs"
)


def fabricate_ended(
    site: Site, pipeline: LoadedPipeline, *texts: str, fails: Callable[[int], bool] = lambda _: False
) -> str:
    """A sweep of these values whose runs have all ended, known to storage and server; its id.

    Each run has executed its first step once: it left metrics, or the run is one that `fails`.
    """
    storage = Storage.open(site.settings.storage)
    built = build_space(pipeline, SweepRequest(texts=texts))
    with (submission := prepare_sweep(pipeline, built, "", None)).snapshot:
        sweep = submission.commit(storage)
    name, total = sweep.record.id, len(sweep.space)
    runs = sweep.paths(storage, sweep.run_id(0)).where()
    make_folder(Path(runs), exist_ok=True)
    failed = [index for index in range(total) if _end(storage, sweep, index, fails(index))]
    succeeded = total - len(failed)
    groups = grouped((f"{name}.{index}", cause_of(_message(sweep, index)), False) for index in failed)
    storage.end_sweep(
        SweepEnd(
            sweep=name,
            state="failed" if failed else "succeeded",
            total=total,
            counts={"succeeded": succeeded, "failed": len(failed), "cancelled": 0},
            created_at=sweep.record.created_at,
            ended_at=time.time(),
            failures=groups,
        )
    )
    run_index = RunIndex(site.server.broker_url)
    run_index.sweeps.open(Opening(name, total, cursor=total, succeeded=succeeded, failed=len(failed)))
    run_index.sweeps.end(name)
    run_index.sweeps.forget_ended(name)
    run_index.close()
    return name


def _end(storage: Storage, sweep: Sweep, index: int, fails: bool) -> bool:
    """Whether it failed."""
    run, step = sweep.run_id(index), sweep.pipeline.steps[0].name
    paths, uid = sweep.paths(storage, run), secrets.token_hex(6)
    slot = paths.begin_attempt(step, 1, uid)
    slot.make()
    record = _record(sweep, run, step, uid, fails)
    slot.append_to_log(f"epoch {index}\n".encode())
    if not fails:
        outputs = Path(slot.where()) / "outputs"
        outputs.mkdir()
        (outputs / _METRICS).write_text(f'{{"loss": 0.{index}, "accuracy": {index}}}\n')
    slot.write_record(record)
    if not fails:
        slot.publish(paths.step(step))
    _write_end(sweep, run, paths, StepFiles(step, slot.name if fails else step, not fails, record))
    return fails


def _record(sweep: Sweep, run: RunId, step: str, uid: str, fails: bool) -> StepRecord:
    now = time.time()
    return StepRecord(
        run=str(run),
        step=step,
        attempt=1,
        uid=uid,
        state="failed" if fails else "succeeded",
        cause="exit_code" if fails else None,
        message=_message(sweep, run.index) if fails else "",
        argv=(f"./{step}.sh", str(run.index)),
        worker="worker-1@benchmark",
        started_at=now - 0.01,
        ended_at=now,
        seconds=0.01,
        exit_code=1 if fails else 0,
        outputs=() if fails else (OutputFile(path=_METRICS, size=40),),
        metrics={} if fails else {"loss": float(f"0.{run.index}"), "accuracy": float(run.index)},
    )


def _write_end(sweep: Sweep, run: RunId, paths: StoredRun, first: StepFiles) -> None:
    rest = [StepFiles(step.name, None, False, None) for step in sweep.pipeline.steps[1:]]
    state: RunState = "succeeded" if first.published else "failed"
    message = first.record.message if first.record else ""
    record = end_of_run(sweep, run, [first, *rest], state, message)
    paths.write_end(record)


def _message(sweep: Sweep, index: int) -> str:
    return _FAILED.format(step=sweep.pipeline.steps[0].name, index=index)
