"""Everything that the page of one run shows, read from the storage and, while it goes on, from the index."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from pipeline_queue.contract.errors import PipelineQueueError, StorageAwayError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import Cause, OutputFile, RunRecord, StepRecord, StepSummary
from pipeline_queue.contract.states import ENDED, StepState
from pipeline_queue.index.live_runs import LiveStep
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.model.parameters import text_of
from pipeline_queue.planning.step_key import shareable_steps
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.current import CurrentState
from pipeline_queue.reporting.explain import Explanation, explain
from pipeline_queue.reporting.runs import find_steps
from pipeline_queue.reporting.trace import Traced, process_table
from pipeline_queue.storage.addresses import has_files, log_size
from pipeline_queue.storage.layout import LOG, LOST, attempt_number, latest_attempt
from pipeline_queue.storage.run_store import RunStore, StoredRun

_MAX_NEIGHBOURS = 2_000
_MAX_TRIES = 100
_MAX_EXPLAINED = 20
"""Each of them reads every manifest of the run."""
_LOST = "its worker lost the lease before the attempt ended"


def run_detail(storage: RunStore, run_index: RunIndex | None, sweep: Sweep, run: RunId) -> dict[str, Any]:
    """The run as the JSON API shows it. Raises BrokerError and StorageError."""
    report = CurrentState(run_index).run(storage, sweep, run)
    paths = sweep.paths(storage, run)
    names = paths.names()
    files = find_steps(sweep, paths, names)
    live = run_index.run(run) if run_index and report.state not in ENDED else None
    before, after = _nearest_failed(storage, run_index, sweep, run, report)
    steps = []
    for summary, file in zip(report.steps, files, strict=True):
        now = live.steps.get(summary.name) if live else None
        tries = _tries(report, summary, paths, names, now)
        steps.append({**_step(summary, file.record, now), "tries": tries})
    return {
        "run": report.run,
        "sweep": report.sweep,
        "sweep_name": sweep.record.name or report.sweep,
        "index": report.index,
        "state": report.state,
        "message": report.message,
        "parameters": report.parameters,
        "changed": varied_parameters(sweep),
        "metrics": {name: value for name, value in report.metrics.items() if math.isfinite(value)},
        "created_at": report.created_at,
        "started_at": report.started_at,
        "ended_at": report.ended_at if report.state in ENDED else None,
        "previous_failed": before,
        "next_failed": after,
        "steps": steps,
        "trace": {"table": [asdict(row) for row in process_table([Traced(report, sweep.pipeline, files)])]},
        "explain": _explained(storage, sweep, run),
        "command": command_of(sweep, report),
    }


def varied_parameters(sweep: Sweep) -> list[str]:
    """The names of the parameters that may differ between the runs of a sweep."""
    return list(sweep.space.varied)


def command_of(sweep: Sweep, report: RunRecord) -> str:
    """The command line that runs the run's values again, quoted for a shell."""
    file = sweep.record.source or "pipeline.yaml"
    words = ["pipeline-queue", "run", f"./{file}" if file.startswith("-") else file]
    for name, value in report.parameters.items():
        words += ["-p", f"{name}={text_of(value)}"]
    return shlex.join(words)


def _step(summary: StepSummary, record: StepRecord | None, now: LiveStep | None) -> dict[str, Any]:
    """Without its tries. The manifest of a step that goes on is the one of an earlier attempt."""
    ended = record if summary.state not in ("running", "waiting") else None
    has_kept = bool(record and record.kept and summary.kept and has_files(summary.kept))
    return {
        "name": summary.name,
        "state": summary.state,
        "attempts": summary.attempts,
        "exit_code": summary.exit_code,
        "seconds": summary.seconds,
        "message": summary.message,
        "worker": ended.worker if ended else now.worker if now else "",
        "queued_at": None,
        "started_at": ended.started_at if ended else now.started_at if now else None,
        "ended_at": ended.ended_at if ended else None,
        "has_log": summary.log is not None,
        "notes": list(summary.notes),
        "outputs": _listed(record.outputs) if record and summary.outputs else [],
        "kept": _listed(record.kept) if record and has_kept else [],
        "argv": list(record.argv) if record else [],
    }


def _tries(
    report: RunRecord, summary: StepSummary, paths: StoredRun, names: frozenset[str], now: LiveStep | None
) -> list[dict[str, Any]]:
    """By attempt number, the published one included; the latest 100. Raises StorageAwayError."""
    step = summary.name
    numbers = {name: number for name in names if (number := attempt_number(step, name)) is not None}
    chosen = sorted(numbers, key=lambda name: (numbers[name], name))[-_MAX_TRIES:]
    if step in names:
        numbers[step] = max(summary.attempts, 1)
        chosen.append(step)
    is_open = step not in names and report.state not in ENDED
    latest = latest_attempt(step, names) if is_open else None
    tries = []
    for name in chosen:
        record, problem = _record_of(paths, name)
        state, cause = _state_of(name, record, step, is_open and name == latest, report, problem)
        is_now = now is not None and state == "running" and now.attempts == numbers[name]
        live = now if is_now else None
        tries.append(
            {
                "name": name,
                "attempt": record.attempt if record else numbers[name],
                "state": state,
                "cause": cause,
                "message": record.message if record else problem or (_LOST if cause == "lost" else ""),
                "worker": record.worker if record else live.worker if live else "",
                "started_at": record.started_at if record else live.started_at if live else None,
                "ended_at": record.ended_at if record else None,
                "seconds": record.seconds if record else None,
                "exit_code": record.exit_code if record else None,
                "has_log": not record.silent if record else log_size(paths.where(f"{name}/{LOG}")) is not None,
            }
        )
    return sorted(tries, key=lambda one: one["attempt"])  # the published one has its own number


def _record_of(paths: StoredRun, name: str) -> tuple[StepRecord | None, str]:
    """The manifest, or what is wrong with it."""
    try:
        return paths.attempt_record(name), ""
    except StorageAwayError:
        raise
    except StorageError as error:
        return None, str(error)


def _state_of(
    name: str, record: StepRecord | None, step: str, is_current: bool, report: RunRecord, problem: str
) -> tuple[StepState, Cause | None]:
    """How the attempt ended, `running` where it may still go on; `is_current`: no attempt has followed it yet."""
    if name == step:
        return "succeeded", None
    if record is not None:
        is_past = record.state == "retrying" and not is_current
        return "failed" if is_past else record.state, record.cause
    if is_current and not name.endswith(LOST) and not problem:
        return "running", None
    if problem:
        return "failed", None
    return ("cancelled", "cancelled") if report.state == "cancelled" else ("failed", "lost")


def _listed(files: Iterable[OutputFile]) -> list[dict[str, Any]]:
    return [{"path": file.path, "size": file.size} for file in files]


def _nearest_failed(
    storage: RunStore, run_index: RunIndex | None, sweep: Sweep, run: RunId, report: RunRecord
) -> tuple[str | None, str | None]:
    """The failed runs before and after this one that are nearest by index. Looks at no run when no other failed."""
    failed = _failed_runs(storage, run_index, sweep)
    if failed is not None and failed <= (report.state == "failed"):
        return None, None
    before = range(run.index - 1, max(-1, run.index - 1 - _MAX_NEIGHBOURS), -1)
    after = range(run.index + 1, min(len(sweep.space), run.index + 1 + _MAX_NEIGHBOURS))
    return _first_failed(storage, sweep, before), _first_failed(storage, sweep, after)


def _failed_runs(storage: RunStore, run_index: RunIndex | None, sweep: Sweep) -> int | None:
    """How many runs of the sweep have failed, None where nothing has counted them."""
    end = storage.sweep_end(sweep.record.id)
    if end is not None:
        return end.counts.get("failed", 0)
    live = run_index.sweeps.read(sweep.record.id) if run_index else None
    return live.failed if live and live.adds_up else None


def _first_failed(storage: RunStore, sweep: Sweep, indexes: Iterable[int]) -> str | None:
    for index in indexes:
        run = RunId(sweep.record.id, index)
        try:
            end = sweep.paths(storage, run).end()
        except StorageAwayError:
            raise
        except PipelineQueueError:
            continue  # damaged; `results` says so
        if end is not None and end.state == "failed":
            return str(run)
    return None


def _explained(storage: RunStore, sweep: Sweep, run: RunId) -> dict[str, list[str]]:
    """Why each step that several runs may share was executed or reused, and how the run beside this one differs.

    Unlike `explain` without a run to compare with, it does not look for the nearest run among hundreds.
    """
    shareable = shareable_steps(sweep.pipeline, sweep.space)
    names = [step.name for step in sweep.pipeline.steps if step.name in shareable]
    beside = run.index - 1 if run.index else min(1, len(sweep.space) - 1)
    told = {}
    for name in names[:_MAX_EXPLAINED]:
        try:
            told[name] = _sentences(explain(storage, sweep, run, name, (sweep, sweep.run_id(beside))))
        except StorageAwayError:
            raise
        except (PipelineQueueError, OSError) as error:
            told[name] = [str(error)]
    return told


def _sentences(found: Explanation) -> list[str]:
    told = [f"{found.decision}: {found.because}"]
    if found.compared and found.compared.run != found.run:
        other = found.compared.run
        for one in found.compared.differences:
            told.append(f"{one.component} of {one.step}: {one.here or '-'}; in run {other}: {one.there or '-'}")
        if not found.compared.differences:
            told.append(f"run {other} has the same identity")
    return told
