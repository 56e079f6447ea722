"""Reports a new run or sweep at once, or watches it to its end; Ctrl-C stops watching, Ctrl-C again cancels it."""

from __future__ import annotations

import json

from pipeline_queue.cli.connection import is_local
from pipeline_queue.cli.interrupts import Cancelling, interruptible
from pipeline_queue.cli.printing import echo, echo_json
from pipeline_queue.client import Client
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.submitting.submission import Submission

_CANCEL_SECONDS = 60.0


def tell(name: str, shown: str | None) -> None:
    """Prints `shown`, a JSON object; or if None the id of a run or sweep, and how to watch it."""
    if shown is not None:
        echo_json(shown)
    else:
        echo(name)
        echo(f"accepted; watch it with: pipeline-queue status {name}", err=True)


def tell_note(text: str) -> None:
    echo(f"note: {text}", err=True)


def print_warnings(loaded: LoadedPipeline) -> None:
    for warning in loaded.warnings:
        echo(f"warning: {warning}", err=True)


def print_notes(submission: Submission) -> None:
    for note in submission.notes():
        tell_note(note)


def json_of_run(client: Client, run_id: str) -> str:
    return client.run(run_id).model_dump_json(indent=2)


def json_of_sweep(client: Client, sweep_id: str) -> str:
    return json.dumps(client.sweep(sweep_id).as_json(), indent=2)


def watch_run(client: Client, run_id: str, as_json: bool) -> str:
    """The state in which it ended."""
    cancelling = Cancelling(
        disconnect=client.close,
        request=lambda: client.cancel(run_id),
        wait=lambda: client.wait(run_id, timeout_seconds=_CANCEL_SECONDS),
    )
    with interruptible(run_id, cancelling):
        # Imported once it is said that the run is accepted: it takes long on a busy machine.
        from pipeline_queue.cli.display import print_report, watch

        report = watch(client, run_id)
    if as_json:
        echo_json(report.model_dump_json(indent=2))
    else:
        print_report(report)
    return report.state


def watch_sweep(client: Client, sweep_id: str, as_json: bool) -> str:
    """The state in which it ended."""
    cancelling = Cancelling(
        disconnect=client.close,
        request=lambda: client.cancel_sweep(sweep_id),
        wait=lambda: client.wait_sweep(sweep_id, timeout_seconds=_CANCEL_SECONDS),
    )
    with interruptible(sweep_id, cancelling):
        from pipeline_queue.cli import sweep_display

        report = client.with_reasons(sweep_display.watch_sweep(client, sweep_id))
    if as_json:
        echo_json(json.dumps(report.as_json(), indent=2))
    else:
        sweep_display.print_sweep(report)
    return report.state


def serve_queues(client: Client, loaded: LoadedPipeline) -> None:
    """Has the embedded worker serve the pipeline's queues; warns of those that no other worker serves."""
    unserved = client.unserved_queues(loaded)
    if unserved and is_local():
        client.serve_queues(set(unserved.values()))
    elif unserved and not client.workers():
        echo("warning: no worker is running; the run waits until you start one (pipeline-queue worker)", err=True)
    else:
        for step, queue in unserved.items():
            echo(
                f"warning: no running worker serves queue '{queue}' of step '{step}'; it waits until one does "
                f"(pipeline-queue worker --queues {queue})",
                err=True,
            )
