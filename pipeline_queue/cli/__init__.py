"""The command line: the list of commands, each imported only when it is called, and the exit codes."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import click

from pipeline_queue import __version__
from pipeline_queue.cli.printing import echo, survive_any_stream

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "init": ("init", "Write a first pipeline file from a script."),
    "run": ("run", "Run a pipeline once with the given values."),
    "sweep": ("sweep", "Run a pipeline for many parameter values."),
    "validate": ("run", "Check a pipeline file without running anything."),
    "publish": ("run", "Store a pipeline under a name, to start it through the HTTP API."),
    "status": ("inspect", "Show the latest runs and sweeps, or one of them."),
    "list": ("inspect", "Show the latest runs and sweeps, as `status` does."),
    "logs": ("inspect", "Print the output of a run's steps."),
    "trace": ("inspect", "Show what happened to each parameter, step by step."),
    "explain": ("inspect", "Explain why a step was executed or reused."),
    "compare": ("inspect", "Compare runs side by side: values, metrics, outputs."),
    "results": ("results", "Show a sweep's runs as a table, CSV, JSON, Parquet or HTML."),
    "outputs": ("inspect", "List or copy a run's output files."),
    "cancel": ("admin", "Cancel a run or a sweep."),
    "pause": ("sweep", "Pause a sweep: start no more of its steps."),
    "resume": ("sweep", "Resume a paused sweep."),
    "retry": ("retry", "Re-run the failed, cancelled or lost runs of a sweep."),
    "forget": ("retry", "Delete an ended sweep or run with all its files."),
    "worker": ("admin", "Start a worker on this machine."),
    "up": ("admin", "Keep a local server, worker and Flower running."),
    "doctor": ("admin", "Check the broker, storage and workers."),
    "completion": ("completion", "Print a completion script for bash, zsh or fish."),
}

_COMPLETES = "_PIPELINE_QUEUE_COMPLETE"
"""Set by a shell that asks for completions (`completion.py`)."""

_COLLECTION_THRESHOLDS = (50_000, 20, 20)
"""What a command imports lives as long as it does. By Python's own thresholds a hundred collections look through it
while it is imported, for a seventh of the processor time that `status` takes."""

_ATTRIBUTES = {"list": "status"}
"""Aliases: a command that is another one's function."""

EXIT_CODES = """\b
Exit codes:
  0  succeeded
  1  the run failed or was cancelled
  2  bad input; nothing was enqueued or written
  3  the broker or the storage cannot be reached
"""


_FIRST_WORDS = {
    "run": "reading the pipeline",
    "sweep": "reading the pipeline",
    "retry": "looking for runs to retry",
    "up": "starting",
}
"""Printed at once by commands whose imports take a noticeable part of a second."""


class LazyGroup(click.Group):
    """Lists commands from the table above and imports one when it is called, so that `--help` is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"pipeline_queue.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, _ATTRIBUTES.get(name, name))
        if _COMPLETES in os.environ:
            from pipeline_queue.cli.completion import complete_parameters

            complete_parameters(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names of the commands, without importing the commands."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items()]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [one for one in found if one.value.startswith(incomplete)] + options

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in _FIRST_WORDS and not {"-h", "--help"} & set(args):
            echo(f"{_FIRST_WORDS[args[0]]} …", err=True)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            close = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise click.UsageError(f"unknown command '{args[0]}'.{hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="pipeline-queue %(version)s")
def cli() -> None:
    """Parameterized pipelines and sweeps on a pool of Celery workers.

    With PIPELINE_QUEUE_BROKER_URL and PIPELINE_QUEUE_STORAGE set, commands talk to that broker and storage.
    Without, `run` starts a private server and worker and keeps everything in ./pipeline-queue-data.
    """


def main() -> None:
    """The console script: prints a PipelineQueueError as plain text and exits with its code."""
    gc.set_threshold(*_COLLECTION_THRESHOLDS)
    if os.environ.get(_COMPLETES):
        _complete()
    survive_any_stream()
    try:
        _run_command()
    finally:
        # After a KeyboardInterrupt that left an exec() of text (an import makes dataclasses by it) `python -m` ends by
        # SIGINT, although it was handled and the exit code is 130. The next exec() has CPython forget it.
        exec("")  # noqa: S102


def _run_command() -> None:
    """Errors of ours become plain text and an exit code."""
    from pipeline_queue.contract.errors import PipelineQueueError

    try:
        cli.main(standalone_mode=False)
    except PipelineQueueError as error:
        _say(error)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except PermissionError as error:
        from pathlib import Path

        from pipeline_queue.storage.access import describe_failed

        _say(
            Exception(describe_failed(Path(str(error.filename)), error, "read or written")) if error.filename else error
        )
        sys.exit(3)
    except BrokenPipeError:
        # The reader has gone (`| head`): not an error, and Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        from pipeline_queue.storage.disk import is_passing
        from pipeline_queue.storage.patience import given_up

        if not is_passing(error):
            raise
        _say(given_up(error, is_away=True))
        sys.exit(3)


def _complete() -> NoReturn:
    """Answers a shell, which would print an error into the prompt: prints completions only."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    with suppress(Exception, SystemExit):
        cli.main(prog_name="pipeline-queue", standalone_mode=False)
    sys.stdout.flush()
    os._exit(0)


def _say(error: Exception) -> None:
    lines = str(error).splitlines() or [type(error).__name__]
    for line in lines if hasattr(error, "problems") else ["\n       ".join(lines)]:
        echo(f"error: {line}", err=True)
