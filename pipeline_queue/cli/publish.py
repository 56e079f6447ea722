"""`publish`: store a pipeline with its folder, so that runs of it can be started through the HTTP API."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline_queue.cli.connection import check_settings, working
from pipeline_queue.cli.printing import echo
from pipeline_queue.cli.watch import print_warnings
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.loading.sweep import check_sweep


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
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
