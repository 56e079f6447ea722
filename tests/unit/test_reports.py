"""What is said of a run: the storage first, the index for what still moves; and the golden records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import OutputFile, RunRecord, StepRecord, SweepRecord
from pipeline_queue.index.live_runs import LiveRun, LiveStep
from pipeline_queue.model.pipeline import Parameter, Pipeline, Step
from pipeline_queue.model.sweep_settings import SweepSettings
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.runs import end_of_run, find_steps, read_run
from pipeline_queue.space import Points
from pipeline_queue.storage.layout import latest_attempt
from pipeline_queue.storage.reading import read_step
from pipeline_queue.storage.storage import Storage

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RUN = RunId("train-7k3m9q2x", 0)

STEP_RECORD = StepRecord(
    run=str(RUN), step="prepare", attempt=2, uid="0123456789ab", state="succeeded", argv=("/bin/echo", "a b", "🦊\n"),
    worker="one@host", started_at=100.5, ended_at=101.75, seconds=1.25, exit_code=0,
    outputs=(OutputFile(path="data/x 1.csv", size=3), OutputFile(path="empty/", size=None)), deleted=("gone",),
    metrics={"loss": 0.5}, notes=("pipe is a link that leads outside or a special file, and was not published",),
)  # fmt: skip


def _sweep() -> Sweep:
    pipeline = Pipeline(
        name="train",
        parameters=(
            Parameter(name="learning_rate", type="float", min=0),
            Parameter(name="optimizer", type="string", default="sgd", choices=("sgd", "adam")),
        ),
        steps=(
            Step(name="prepare", argv=(("/bin/echo",),)),
            Step(name="train_model", argv=(("train.py",),), python=True, retries=2, timeout_seconds=60.0),
        ),
    )
    space = Points(({"learning_rate": 0.01, "optimizer": "a/b ../c"},))
    record = SweepRecord(
        id=RUN.sweep, pipeline=pipeline.as_json(), snapshot="ab" * 32,
        sources={"train_model": "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a"}, space=space.as_json(), total=1,
        created_at=99.5, submitted_by="me@host", source="pipeline.yaml",
    )  # fmt: skip
    return Sweep(record, pipeline, space, SweepSettings())


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage.open(tmp_path / "storage")
    assert storage.commit_sweep(_sweep().record, b"pipeline: {}")
    return storage


def _put(storage: Storage, folder: str, record: StepRecord | None) -> None:
    path = Path(_sweep().paths(storage, RUN).where()) / folder
    path.mkdir(parents=True)
    if record:
        (path / "step.json").write_text(record.model_dump_json())


def _live(state: Any, **steps: LiveStep) -> LiveRun:
    return LiveRun(state=state, cancelling=False, created_at=99.0, started_at=100.0, ended_at=None, steps=steps)


def _live_step(state: Any, attempts: int = 1) -> LiveStep:
    return LiveStep(state, attempts, seconds=None, exit_code=None, message="", worker="one@host", started_at=100.0)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("sweep.v1.json", _sweep().record),
        ("step.v1.json", STEP_RECORD),
        (
            "run.v1.json",
            RunRecord(
                sweep=RUN.sweep, run=str(RUN), index=0, state="failed", parameters={"learning_rate": 0.01, "flag": True, "n": 1},
                steps=(), metrics={"loss": 0.5}, message="step prepare failed with exit code 1", created_at=99.5,
                started_at=100.5, ended_at=101.75,
            ),
        ),
    ],
)  # fmt: skip
def test_records_of_version_1_are_written_and_read_as_ever(name: str, record: Any) -> None:
    golden = (GOLDEN / name).read_text()
    assert record.model_dump_json(indent=2) + "\n" == golden
    assert type(record).model_validate_json(golden) == record


def test_a_sweep_reads_back_as_it_was_committed(storage: Storage) -> None:
    again, sweep = Sweep.read(storage, RUN.sweep), _sweep()
    assert (again.record, again.pipeline) == (sweep.record, sweep.pipeline)
    assert again.parameters(RUN) == sweep.parameters(RUN)
    assert [type(value) for value in again.parameters(RUN).values()] == [float, str]


def test_a_new_run_is_queued_and_its_steps_wait(storage: Storage) -> None:
    report = read_run(storage, _sweep(), RUN, None)
    assert (report.state, [step.state for step in report.steps]) == ("queued", ["waiting", "waiting"])
    assert report.parameters == {"learning_rate": 0.01, "optimizer": "a/b ../c"}


def test_a_published_step_has_absolute_paths_and_the_next_runs(storage: Storage) -> None:
    _put(storage, "prepare", STEP_RECORD)
    _put(storage, "train_model.attempt-1-abcd", None)
    report = read_run(storage, _sweep(), RUN, _live("running", train_model=_live_step("running")))
    folder = Path(_sweep().paths(storage, RUN).where())
    first, second = report.steps
    assert (first.state, first.outputs, first.log) == (
        "succeeded", str(folder / "prepare/outputs"), str(folder / "prepare/log"),
    )  # fmt: skip
    assert (second.state, second.outputs, second.attempts) == ("running", None, 1)
    assert second.log == str(folder / "train_model.attempt-1-abcd/log")


def test_the_storage_outranks_a_index_that_lags(storage: Storage) -> None:
    _put(storage, "prepare", STEP_RECORD)
    _put(storage, "train_model", STEP_RECORD)
    live = _live("running", prepare=_live_step("running"), train_model=_live_step("running"))
    report = read_run(storage, _sweep(), RUN, live)
    assert (report.state, [step.state for step in report.steps]) == ("succeeded", ["succeeded", "succeeded"])


def test_a_failed_run_skips_what_comes_after(storage: Storage) -> None:
    _put(storage, "prepare.attempt-1-aa", STEP_RECORD.model_copy(update={"state": "retrying", "attempt": 1}))
    _put(storage, "prepare.attempt-10-aa", STEP_RECORD.model_copy(update={"state": "failed", "attempt": 10}))
    sweep = _sweep()
    paths = sweep.paths(storage, RUN)
    record = end_of_run(sweep, RUN, find_steps(sweep, paths, paths.names()), "failed", "because")
    assert [(step.state, step.attempts) for step in record.steps] == [("failed", 10), ("skipped", 0)]
    assert record.steps[0].outputs is None and record.message == "because"


def test_a_run_with_a_cancel_request_and_no_index_is_cancelled(storage: Storage) -> None:
    folder = Path(_sweep().paths(storage, RUN).where())
    folder.mkdir(parents=True)
    (folder / "cancel.requested").touch()
    assert read_run(storage, _sweep(), RUN, None).state == "cancelled"


@pytest.mark.parametrize(
    "name",
    ["prepare.attempt-", "prepare.attempt-x-aa", "prepare.attempt-0-aa", "prepare.attempt-1", "prepare.attempt--1-aa",
     "prepare.attempt-٣-aa", "prepare.attempt-1-../x", "prepare2.attempt-9-aa", ".prepare.attempt-9-aa"],
)  # fmt: skip
def test_names_that_are_no_attempt_are_passed_over(name: str) -> None:
    assert latest_attempt("prepare", frozenset({name})) is None
    both = frozenset({name, "prepare.attempt-2-aa"})
    assert latest_attempt("prepare", both) == "prepare.attempt-2-aa"


def test_a_manifest_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_step(tmp_path) is None


def test_a_record_of_an_end_leads_nowhere_but_into_its_run(storage: Storage) -> None:
    """One that was damaged or forged: `outputs RUN DIR` would copy, `logs` print, what it names."""
    _put(storage, "prepare", STEP_RECORD)
    sweep = _sweep()
    paths = sweep.paths(storage, RUN)
    end = end_of_run(sweep, RUN, find_steps(sweep, paths, paths.names()), "failed", "")
    (first, second) = end.steps
    forged = end.model_copy(
        update={
            "steps": (
                first.model_copy(update={"outputs": "/etc", "log": "prepare/../../../x", "kept": "../1/train/kept"}),
                second.model_copy(update={"name": "../../outside"}),
            )
        }
    )
    Path(paths.where("run.json")).write_text(forged.model_dump_json())
    (step,) = read_run(storage, sweep, RUN, None).steps
    assert (step.name, step.outputs, step.log, step.kept) == ("prepare", None, None, None)
