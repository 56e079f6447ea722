"""The process table and the status tracker: from records, whatever the values hold."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_queue.contract.records import OutputFile, RunRecord, StepRecord, StepSummary
from pipeline_queue.model.pipeline import Parameter, Pipeline, Reference, Step
from pipeline_queue.reporting.runs import StepFiles
from pipeline_queue.reporting.trace import Traced, process_table, status_tracker

RATE = Reference(scope="parameters", name="learning_rate")
PIPELINE = Pipeline(
    name="train",
    parameters=(Parameter(name="learning_rate", type="string"), Parameter(name="epochs", type="int", default=10)),
    steps=(Step(name="train_model", argv=(("train.py",), ("--lr",), (RATE,)), python=True), Step(name="after", argv=(("x",),))),
)  # fmt: skip


def _traced(value: str, state: Any = "succeeded", index: int = 0, **record: Any) -> Traced:
    run = f"train-7k3m9q2x.{index}"
    manifest = StepRecord(
        run=run, step="train_model", attempt=1, uid="aa", state=state, worker="one@host", seconds=0.25, exit_code=0,
        argv=("/usr/bin/python3", "train.py", "--lr", value), outputs=(OutputFile(path="model", size=7),),
        **record,
    )  # fmt: skip
    report = RunRecord(
        sweep="train-7k3m9q2x", run=run, index=index, state=state, parameters={"learning_rate": value, "epochs": 10},
        steps=(StepSummary(name="train_model", state=state), StepSummary(name="after", state="skipped")),
        metrics={"loss": 0.5 + index}, message=record.get("message", ""),
    )  # fmt: skip
    published = state == "succeeded"
    return Traced(report, PIPELINE, [StepFiles("train_model", "train_model", published, manifest),
                                     StepFiles("after", None, False, None)])  # fmt: skip


def test_the_table_tells_the_way_of_each_parameter_in_order() -> None:
    rows = process_table([_traced("0.01"), _traced("0.1", index=1)])
    assert [row.step for row in rows] == list(range(1, len(rows) + 1))
    assert [row.action for row in rows if row.parameter in ("learning_rate", "-")] == [
        "Pipeline defined",
        "Pipeline triggered", "Step train_model starts", "Step train_model executes", "Step after skipped", "Pipeline completes",
        "Pipeline triggered again", "Step train_model starts", "Step train_model executes", "Step after skipped",
        "Pipeline completes",
    ]  # fmt: skip
    assert [row.value_passed for row in rows if row.action == "Step train_model starts"] == ["0.01", "0.1"]
    assert {row.value_passed for row in rows if row.action == "Pipeline defined"} == {
        "string type, no value yet", "int type, default 10",
    }  # fmt: skip


@pytest.mark.parametrize(
    "value", ["a b", "it's", "$HOME", "line\nline", "", "-1e-3", "x" * 5000], ids=lambda v: ascii(v)[:12]
)
def test_what_a_step_received_is_shown_as_a_shell_would_take_it(value: str) -> None:
    row = next(row for row in process_table([_traced(value)]) if row.action == "Step train_model starts")
    assert row.effect.startswith("train_model receives --lr ")
    assert len(row.effect) < 200 and len(row.value_passed) <= 120


def test_a_failure_is_told_with_its_cause() -> None:
    rows = process_table([_traced("0.01", state="failed", message="it failed; the log ends with:\n  Traceback")])
    assert [row.effect for row in rows if row.action in ("Step train_model executes", "Pipeline failed")] == [
        "it failed: Traceback", "it failed: Traceback", "it failed: Traceback",
    ]  # fmt: skip


def test_a_step_that_never_started_received_nothing() -> None:
    rows = process_table([_traced("0.01", state="failed", cause="not_started")])
    assert "Step train_model starts" not in {row.action for row in rows}


def test_a_pipeline_without_parameters_has_a_table_too() -> None:
    pipeline = Pipeline(name="plain", steps=(Step(name="one", argv=(("true",),)),))
    report = RunRecord(sweep="plain-7k3m9q2x", run="plain-7k3m9q2x.0", index=0, state="queued", parameters={},
                       steps=(StepSummary(name="one", state="waiting"),))  # fmt: skip
    rows = process_table([Traced(report, pipeline, [StepFiles("one", None, False, None)])])
    assert [(row.action, row.parameter) for row in rows] == [
        ("Pipeline defined", "-"), ("Pipeline triggered", "-"), ("Step one waiting", "-"), ("Pipeline queued", "-"),
    ]  # fmt: skip


def test_the_tracker_puts_runs_side_by_side() -> None:
    tracker = status_tracker([_traced("0.01"), _traced("0.1", index=1)])
    assert tracker == {
        "runs": ["train-7k3m9q2x.0", "train-7k3m9q2x.1"],
        "variables": [
            {"variable": "learning_rate", "start": None, "after": ["0.01", "0.1"], "final": "0.1"},
            {"variable": "epochs", "start": 10, "after": [10, 10], "final": 10},
        ],
        "metrics": [{"metric": "loss", "values": [0.5, 1.5]}],
        "outputs": [{"output": "train_model/model", "sizes": [7, 7]}],
    }
