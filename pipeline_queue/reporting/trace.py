"""What really happened to each parameter, row by row: the process table and the status tracker of runs.

Built from records only: what was defined (`sweep.json`), what a process received (`step.json`'s argv), how it
ended.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_queue.contract.records import RunRecord, StepRecord
from pipeline_queue.model.failure_causes import reason_of
from pipeline_queue.model.parameters import text_of
from pipeline_queue.model.pipeline import Parameter, Pipeline, Step
from pipeline_queue.reporting.runs import StepFiles

_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the process table."""

    step: int
    action: str
    parameter: str
    value_passed: str
    effect: str


@dataclass(frozen=True, slots=True)
class Traced:
    """A run as it stands, with its steps' manifests."""

    report: RunRecord
    pipeline: Pipeline
    steps: Sequence[StepFiles]


def process_table(runs: Sequence[Traced]) -> list[Row]:
    """The rows of one or more runs of one pipeline, numbered from 1; a parameter of its own a row."""
    rows = [*_defined(runs[0].pipeline)]
    for position, run in enumerate(runs):
        rows += _run_rows(run, "Pipeline triggered" if position == 0 else "Pipeline triggered again")
    return [Row(number, *row) for number, row in enumerate(rows, start=1)]


def status_tracker(runs: Sequence[Traced]) -> dict[str, Any]:
    """Variables by run, and metrics and outputs beside them.

    `{"runs": [id], "variables": [{"variable", "start", "after": [value], "final"}],
    "metrics": [{"metric", "values": [number or null]}], "outputs": [{"output", "sizes": [bytes or null]}]}`
    """
    names = list(dict.fromkeys(name for run in runs for name in run.report.parameters))
    metrics = list(dict.fromkeys(name for run in runs for name in run.report.metrics))
    sizes = [_sizes(run) for run in runs]
    outputs = list(dict.fromkeys(name for run in sizes for name in run))
    return {
        "runs": [run.report.run for run in runs],
        "variables": [_variable(name, runs) for name in names],
        "metrics": [{"metric": name, "values": [run.report.metrics.get(name) for run in runs]} for name in metrics],
        "outputs": [{"output": name, "sizes": [run.get(name) for run in sizes]} for name in outputs],
    }


def _variable(name: str, runs: Sequence[Traced]) -> dict[str, Any]:
    defaults = {one.name: one.default for run in runs for one in run.pipeline.parameters}
    after = [run.report.parameters.get(name) for run in runs]
    return {"variable": name, "start": defaults.get(name), "after": after, "final": after[-1]}


def _sizes(run: Traced) -> dict[str, int | None]:
    return {
        f"{step.name}/{file.path}": file.size
        for step in run.steps
        if step.published and step.record
        for file in step.record.outputs
    }


def _defined(pipeline: Pipeline) -> Iterator[tuple[str, str, str, str]]:
    if not pipeline.parameters:
        yield "Pipeline defined", "-", "-", "Pipeline has no parameters"
    for parameter in pipeline.parameters:
        yield "Pipeline defined", parameter.name, _declaration(parameter), "Pipeline ready to accept parameter"


def _declaration(parameter: Parameter) -> str:
    if parameter.default is None:
        return f"{parameter.type} type, no value yet"
    return f"{parameter.type} type, default {_shown(text_of(parameter.default))}"


def _run_rows(run: Traced, triggered: str) -> Iterator[tuple[str, str, str, str]]:
    every = list(run.report.parameters)
    yield from _rows(run, triggered, every, "Parameter value set for this run")
    for step, files, summary in zip(run.pipeline.steps, run.steps, run.report.steps, strict=True):
        used = step.parameters()
        if files.record and files.record.cause != "not_started":
            yield from _rows(
                run, f"Step {step.name} starts", used, f"{step.name} receives {_received(step, files.record)}"
            )
            yield from _rows(run, f"Step {step.name} executes", used, _execute(files.record))
        elif summary.state == "skipped":
            yield from _rows(run, f"Step {step.name} skipped", used, "An earlier step did not succeed")
        else:
            yield from _rows(run, f"Step {step.name} {summary.state}", used, reason_of(summary.message) or "-")
    if run.report.state == "succeeded":
        yield from _rows(run, "Pipeline completes", every, _completed(run))
    else:
        yield from _rows(run, f"Pipeline {run.report.state}", every, reason_of(run.report.message) or "-")


def _rows(run: Traced, action: str, names: Sequence[str], effect: str) -> Iterator[tuple[str, str, str, str]]:
    if not names:
        yield action, "-", "-", effect
    for name in names:
        yield action, name, _shown(text_of(run.report.parameters[name])), effect


def _received(step: Step, record: StepRecord) -> str:
    """The words after the program, as the process got them."""
    words = record.argv[2:] if step.python else record.argv[1:]
    return _shown(shlex.join(words)) if words else "no arguments"


def _execute(record: StepRecord) -> str:
    if record.state == "succeeded":
        return f"exit code 0 after {record.seconds:.3g} s on {record.worker}"
    return reason_of(record.message) or record.state


def _completed(run: Traced) -> str:
    files = [file.path for step in run.steps if step.published and step.record for file in step.record.outputs]
    metrics = " ".join(f"{name}={value:g}" for name, value in run.report.metrics.items())
    shown = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
    return f"Outputs: {shown or 'none'}" + (f" ({metrics})" if metrics else "")


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
