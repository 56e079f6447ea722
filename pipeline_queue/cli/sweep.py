"""`sweep`, `pause` and `resume`: many values at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from pipeline_queue.cli.connection import check_settings, reading, storage_root, threads_option, working
from pipeline_queue.cli.interrupts import submission_told_of
from pipeline_queue.cli.printing import echo, echo_json
from pipeline_queue.cli.watch import (
    json_of_sweep,
    print_notes,
    print_warnings,
    serve_queues,
    tell,
    tell_note,
    watch_sweep,
)
from pipeline_queue.contract.errors import InputError
from pipeline_queue.contract.wording import counted
from pipeline_queue.loading.loader import load_pipeline, read_params_file
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.planning.step_key import distinct_executions
from pipeline_queue.space import Space
from pipeline_queue.submitting.submission import prepare_sweep

_SHOWN_POINTS = 5
_MAX_COUNTED = 200_000


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--param",
    "values",
    multiple=True,
    metavar="NAME=VALUES",
    help="Set a parameter's values: a list, or a form such as range(0,9).",
)
@click.option(
    "--params-file", type=click.Path(path_type=Path), help="Read values from a YAML or JSON file; -p overrides them."
)
@click.option(
    "--zip", "zips", multiple=True, metavar="A,B", help="Pair these parameters instead of taking their product."
)
@click.option("--points", type=click.Path(path_type=Path), help="Read points from a CSV or JSONL file, one per line.")
@click.option("--random", "random_count", metavar="N", help="Draw N points from the distributions given with -p.")
@click.option("--seed", metavar="N", help="Set the seed of --random (default: 0).")
@click.option("--repeat", metavar="N", help="Run each point N times.")
@click.option("--max-runs", metavar="N", help="Run only the first N points.")
@click.option("--max-parallel", metavar="N", help="Run at most N runs at a time.")
@click.option("--priority", metavar="high|normal|low", help="Set the priority among sweeps.")
@click.option("--on-failure", metavar="continue|stop", help="Continue or stop the sweep when a run fails.")
@click.option("--max-failures", metavar="N", help="With `--on-failure stop`: tolerate N failed runs.")
@click.option("--unused", metavar="allow|refuse", help="Allow or refuse to vary a parameter that no step uses.")
@click.option("--name", default="", help="Name the sweep; submitting it again under that name finds the first one.")
@click.option("--dry-run", is_flag=True, help="Print what would run; change nothing.")
@click.option("--detach", is_flag=True, help="Return as soon as the sweep is accepted.")
@click.option(
    "--slots",
    type=click.IntRange(1, 1024),
    help="Steps that the embedded worker runs at a time (default: one per CPU).",
)
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def sweep(file: Path, dry_run: bool, detach: bool, slots: int | None, name: str, as_json: bool, **asked: Any) -> None:
    """Run the pipeline FILE for many values and wait until all runs have ended.

    \b
    Examples:
      pipeline-queue sweep pipeline.yaml -p learning_rate=0.001,0.01,0.1
      pipeline-queue sweep pipeline.yaml -p 'learning_rate=logspace(1e-4,1e-1,7)' -p 'epochs=range(10,50,10)'
      pipeline-queue sweep pipeline.yaml -p 'learning_rate=loguniform(1e-4,1e-1)' --random 50 --seed 7
    """
    check_settings()
    loaded = load_pipeline(file)
    print_warnings(loaded)
    built = build_space(loaded, _request(asked))
    for note in built.notes:
        echo(f"note: {note}", err=True)
    if dry_run:
        _print_plan(loaded.pipeline, built.space, as_json)
        return
    submission = prepare_sweep(loaded, built, name, storage_root())
    print_notes(submission)
    with submission.snapshot, working(slots) as client:
        serve_queues(client, loaded)
        with submission_told_of():
            sweep_id = client.submit_sweep(submission, note=tell_note)
        if detach:
            tell(sweep_id, json_of_sweep(client, sweep_id) if as_json else None)
            return
        state = watch_sweep(client, sweep_id, as_json)
    if state != "succeeded":
        sys.exit(1)


def _request(asked: dict[str, Any]) -> SweepRequest:
    params_file = asked["params_file"]
    numbers = {
        option: _number(option, asked[key])
        for option, key in (
            ("random", "random_count"),
            ("seed", "seed"),
            ("repeat", "repeat"),
            ("max_runs", "max_runs"),
            ("max_parallel", "max_parallel"),
            ("max_failures", "max_failures"),
        )
    }
    return SweepRequest(
        texts=asked["values"],
        given=read_params_file(params_file) if params_file else {},
        zips=asked["zips"],
        points=asked["points"],
        priority=asked["priority"],
        on_failure=asked["on_failure"],
        unused=asked["unused"],
        **numbers,
    )


def _number(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--{option.replace('_', '-')} takes a whole number, not '{text[:40]}'") from None


def _print_plan(pipeline: Pipeline, space: Space, as_json: bool) -> None:
    points = [space[index] for index in range(min(len(space), _SHOWN_POINTS))]
    found = distinct_executions(pipeline, space, _MAX_COUNTED)
    steps = len(space) * len(pipeline.steps)
    if as_json:
        distinct = found[0] if found else None
        plan = {"total": len(space), "steps": steps, "distinct_steps": distinct, "points": points}
        echo_json(json.dumps(plan, indent=2))
        return
    from pipeline_queue.cli.display import short

    shared = f": {found[0]:,} to execute, {steps - found[0]:,} shared" if found else ""
    echo(f"{counted(len(space), 'run')}, {counted(steps, 'step')}{shared}")
    for point in points:
        echo("  " + "  ".join(f"{name}={short(value)}" for name, value in point.items()))
    if len(space) > len(points):
        echo(f"  … and {len(space) - len(points):,} more")


@click.command()
@click.argument("sweep_name", metavar="SWEEP")
def pause(sweep_name: str) -> None:
    """Pause SWEEP: start no more of its steps; steps that are running finish."""
    from pipeline_queue.cli.sweep_display import state_text

    with reading() as client:
        report = client.pause_sweep(sweep_name)
    echo(f"{report.sweep} is {state_text(report)}; resume it: pipeline-queue resume {report.sweep}")


@click.command()
@click.argument("sweep_name", metavar="SWEEP")
def resume(sweep_name: str) -> None:
    """Resume a paused SWEEP."""
    with reading() as client:
        report = client.resume_sweep(sweep_name)
    echo(f"{report.sweep} is {report.state}")
