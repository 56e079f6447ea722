"""`run`, `validate` and `publish`: from a pipeline file and values to a run, watched until it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from pipeline_queue.cli.connection import check_settings, storage_root, threads_option, working
from pipeline_queue.cli.interrupts import submission_told_of
from pipeline_queue.cli.printing import echo, echo_json
from pipeline_queue.cli.watch import json_of_run, print_notes, print_warnings, serve_queues, tell, tell_note, watch_run
from pipeline_queue.contract.errors import PipelineFileError, Place, Problem, ValuesError
from pipeline_queue.loading.loader import load_pipeline, read_params_file
from pipeline_queue.loading.sweep import check_sweep
from pipeline_queue.model.parameters import Given, given_on_command_line
from pipeline_queue.submitting.submission import prepare_run

_FILE = click.argument("file", type=click.Path(path_type=Path))
_VALUES = click.option(
    "-p", "--param", "values", multiple=True, metavar="NAME=VALUE", help="Set a parameter; repeat for more."
)
_PARAMS_FILE = click.option(
    "--params-file", type=click.Path(path_type=Path), help="Read values from a YAML or JSON file; -p overrides them."
)


@click.command()
@_FILE
@_VALUES
@_PARAMS_FILE
@click.option("--detach", is_flag=True, help="Return as soon as the run is accepted.")
@click.option(
    "--slots",
    type=click.IntRange(1, 1024),
    help="Steps that the embedded worker runs at a time (default: one per CPU).",
)
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(
    file: Path, values: tuple[str, ...], params_file: Path | None, detach: bool, slots: int | None, as_json: bool
) -> None:
    """Run the pipeline FILE once and wait until it has ended.

    \b
    Examples:
      pipeline-queue run pipeline.yaml -p learning_rate=0.01
      pipeline-queue run pipeline.yaml --params-file best.yaml --json
    """
    check_settings()
    loaded = load_pipeline(file)
    print_warnings(loaded)
    submission = prepare_run(loaded, _given(values, params_file), storage_root())
    print_notes(submission)
    with submission.snapshot, working(slots) as client:
        serve_queues(client, loaded)
        with submission_told_of():
            run_id = f"{client.submit_sweep(submission, note=tell_note)}.0"
        if detach:
            tell(run_id, json_of_run(client, run_id) if as_json else None)
            return
        state = watch_run(client, run_id, as_json)
    if state != "succeeded":
        sys.exit(1)


@click.command()
@_FILE
@_VALUES
@_PARAMS_FILE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def validate(file: Path, values: tuple[str, ...], params_file: Path | None, as_json: bool) -> None:
    """Check the pipeline FILE, and the values if you give any, without running anything."""
    try:
        loaded = load_pipeline(file)
        notes = check_sweep(loaded)
        if values or params_file:
            with prepare_run(loaded, _given(values, params_file), storage_root()).snapshot:
                pass
    except (PipelineFileError, ValuesError) as error:
        if not as_json:
            raise
        echo_json(json.dumps({"ok": False, "problems": [_problem(one) for one in error.problems]}, indent=2))
        sys.exit(2)
    if as_json:
        warnings = [_problem(one) for one in loaded.warnings]
        echo_json(json.dumps({"ok": True, "pipeline": loaded.pipeline.as_json(), "warnings": warnings}, indent=2))
        return
    print_warnings(loaded)
    for note in notes:
        tell_note(note)
    pipeline = loaded.pipeline
    needed = [parameter.name for parameter in pipeline.parameters if parameter.required]
    echo(f"{file}: pipeline '{pipeline.name}' is valid")
    echo(f"  parameters: {', '.join(parameter.name for parameter in pipeline.parameters) or 'none'}")
    echo(f"  needs values for: {', '.join(needed) or 'none'}")
    echo(f"  steps: {' -> '.join(step.name for step in pipeline.steps)}")


@click.command()
@_FILE
@click.option("--as", "name", required=True, metavar="NAME", help="Publish under this name, or replace what has it.")
def publish(file: Path, name: str) -> None:
    """Store the pipeline FILE with its folder under a name.

    Flower then starts runs and sweeps of it at `POST /api/pipelines/NAME/runs`.

    \b
    Example:
      pipeline-queue publish pipeline.yaml --as train
    """
    check_settings()
    loaded = load_pipeline(file)
    check_sweep(loaded)
    print_warnings(loaded)
    with working() as client:
        client.publish(loaded, name)
    echo(f"published {file} as {name}; start it: POST /api/pipelines/{name}/runs")


def _given(values: tuple[str, ...], params_file: Path | None) -> dict[str, Given]:
    """Raises ValuesError for a `-p` that is not NAME=VALUE or comes twice."""
    given = read_params_file(params_file) if params_file else {}
    problems: list[Problem] = []
    named: set[str] = set()
    for text in values:
        name, equals, value = text.partition("=")
        one = given_on_command_line(name, value)
        if not equals or not name:
            problems.append(
                Problem(Place(f"-p {text[:80]}"), "expected NAME=VALUE", "for example -p learning_rate=0.01")
            )
        elif name in named:
            problems.append(Problem(one.place, f"'{name}' is given twice", "give each parameter once"))
        named.add(name)
        given[name] = one
    if problems:
        raise ValuesError(tuple(problems))
    return given


def _problem(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "file": place.source,
        "line": place.line,
        "column": place.column,
        "message": problem.message,
        "hint": problem.hint,
    }
