"""What is known of a run: the storage first, the index for what is still moving."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import RunRecord, StepRecord, StepSummary
from pipeline_queue.contract.states import ENDED, RunState, StepState
from pipeline_queue.index.live_runs import LiveRun, LiveStep
from pipeline_queue.index.shared_steps import Wait
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.layout import CANCELLED, KEPT, LOG, OUTPUTS, latest_attempt
from pipeline_queue.storage.run_store import RunStore, StoredRun

_NO_MANIFEST = "its manifest is missing, so its metrics are unknown"


@dataclass(frozen=True, slots=True)
class StepFiles:
    """One step on the storage: the folder of its publication or latest attempt, and its manifest if it ended."""

    name: str
    folder: str | None
    published: bool
    record: StepRecord | None


def find_steps(
    sweep: Sweep, paths: StoredRun, names: frozenset[str], known: StepFiles | None = None
) -> list[StepFiles]:
    """Every step of the pipeline as the storage has it; `names` is what lies in the run's folder. The step that is
    `known` is not read."""
    found = []
    for step in sweep.pipeline.steps:
        if known is not None and step.name == known.name:
            found.append(known)
            continue
        published = step.name in names
        folder = step.name if published else latest_attempt(step.name, names)
        record = paths.attempt_record(folder) if folder else None
        found.append(StepFiles(step.name, folder, published, record))
    return found


def find_ended_steps(sweep: Sweep, paths: StoredRun, is_whole: bool, known: StepFiles | None = None) -> list[StepFiles]:
    """The same for the run's end, which is written once: with every manifest, waited for while this machine does not
    see it yet. `is_whole`: every step is known to be published.

    Raises StorageAwayError when one may still appear, OSError, StorageError. One that was removed is missing.
    """

    def find() -> list[StepFiles]:
        steps = find_steps(sweep, paths, paths.names(), known)
        for step in steps:
            if step.published and step.record is None:
                with suppress(FileNotFoundError):
                    paths.step(step.name).published_record()
                    return find()
            elif is_whole and not step.published:
                raise FileNotFoundError(errno.ENOENT, "a published step is missing", paths.where())
        return steps

    try:
        return paths.read_visible(find)
    except FileNotFoundError:
        return find_steps(sweep, paths, paths.names(), known)


def metrics_of(steps: Iterable[StepFiles]) -> dict[str, float]:
    """The numbers that the published steps wrote to `metrics.json`; a later step wins."""
    records = (step.record for step in steps if step.published and step.record)
    return {name: value for record in records for name, value in record.metrics.items()}


def end_of_run(sweep: Sweep, run: RunId, steps: list[StepFiles], state: RunState, message: str) -> RunRecord:
    """The content of `run.json`."""
    summaries = tuple(_ended_summary(step, state) for step in _with_skipped(sweep.pipeline, steps))
    records = [step.record for step in steps if step.record]
    return RunRecord(
        sweep=run.sweep,
        run=str(run),
        index=run.index,
        state=state,
        parameters=sweep.parameters(run),
        steps=summaries,
        metrics={name: value for record in records for name, value in record.metrics.items()},
        message=message,
        created_at=sweep.record.created_at,
        started_at=min((record.started_at for record in records), default=None),
        ended_at=max((record.ended_at for record in records), default=None),
    )


def read_run(storage: RunStore, sweep: Sweep, run: RunId, live: LiveRun | None) -> RunRecord:
    """The run as it is now; paths are absolute.

    `live` is what the index knows, None where it knows nothing or is not asked.
    """
    paths = sweep.paths(storage, run)
    end = paths.end()
    if end is None:
        names = paths.names()
        steps = find_steps(sweep, paths, names)
        end = _unfinished(sweep, run, steps, live, cancelled=CANCELLED in names)
    known = {step.name for step in sweep.pipeline.steps}
    return end.model_copy(update={"steps": tuple(_absolute(paths, step) for step in end.steps if step.name in known)})


def with_wait(report: RunRecord, wait: Wait) -> RunRecord:
    """The report of a run that executes nothing, with what it waits for."""
    if not wait.step:
        return report.model_copy(
            update={"message": f"waits until its sweep is resumed: pipeline-queue resume {report.sweep}"}
        )
    text = f"waits for step {wait.step}, which run {wait.leader} executes"
    steps = tuple(
        step.model_copy(update={"state": "waiting", "message": text}) if step.name == wait.step else step
        for step in report.steps
    )
    return report.model_copy(update={"state": "waiting", "steps": steps, "message": text})


def _unfinished(sweep: Sweep, run: RunId, steps: list[StepFiles], live: LiveRun | None, cancelled: bool) -> RunRecord:
    state: RunState = live.state if live else ("running" if any(step.folder for step in steps) else "queued")
    if sweep.pipeline.is_complete({step.name for step in steps if step.published}):
        state = "succeeded"
    elif cancelled and state == "queued":
        state = "cancelled"
    record = end_of_run(sweep, run, steps, state, "")
    known = live.steps if live else {}
    summaries = tuple(
        _overlaid(summary, known.get(summary.name), state) for summary in record.steps
    )  # fmt: skip
    message = next((step.message for step in summaries if step.state == "failed"), "")
    return record.model_copy(
        update={
            "steps": summaries,
            "message": message,
            "started_at": (live.started_at if live else None) or record.started_at,
            "ended_at": record.ended_at if state in ENDED else None,
        }
    )


def _overlaid(summary: StepSummary, live: LiveStep | None, state: RunState) -> StepSummary:
    """The index is ahead of the storage for a step that runs or waits to be tried again."""
    if (
        live is None
        or summary.state == "succeeded"
        or (state in ENDED and (summary.state == "skipped" or (summary.state == "failed" and summary.message)))
    ):
        return summary
    return summary.model_copy(
        update={
            "state": live.state,
            "attempts": max(live.attempts, summary.attempts),
            "exit_code": live.exit_code,
            "seconds": live.seconds,
            "message": live.message,
        }
    )


def _with_skipped(pipeline: Pipeline, steps: list[StepFiles]) -> list[tuple[StepFiles, bool]]:
    """Each step with whether one before it was not published."""
    published = {step.name for step in steps if step.published}
    return [(step, not published.issuperset(pipeline.before(step.name))) for step in steps]


def _ended_summary(item: tuple[StepFiles, bool], run_state: RunState) -> StepSummary:
    step, blocked = item
    record = step.record
    return StepSummary(
        name=step.name,
        state=_state(step, blocked, run_state),
        attempts=record.attempt if record else (1 if step.folder else 0),
        exit_code=record.exit_code if record else None,
        seconds=record.seconds if record else None,
        outputs=f"{step.folder}/{OUTPUTS}" if step.published and (not record or record.outputs) else None,
        log=f"{step.folder}/{LOG}" if step.folder and not (record and record.silent) else None,
        message=record.message if record else "",
        kept=f"{step.folder}/{KEPT}" if record and record.kept else None,
        notes=record.notes if record else (_NO_MANIFEST,) if step.published else (),
    )


def _state(step: StepFiles, blocked: bool, run_state: RunState) -> StepState:
    if step.published:
        return "succeeded"
    if run_state in ENDED:
        if blocked:
            return "skipped"
        if step.record and step.record.state != "retrying":
            return step.record.state
        return "cancelled" if run_state == "cancelled" else "failed"
    return "running" if step.folder and step.record is None else "waiting"


def _absolute(paths: StoredRun, step: StepSummary) -> StepSummary:
    def full(path: str | None) -> str | None:
        # A record that was damaged or forged must lead nowhere else.
        if path is None or path.startswith("/") or ".." in path.split("/"):
            return None
        return paths.where(path)

    return step.model_copy(update={"outputs": full(step.outputs), "log": full(step.log), "kept": full(step.kept)})
