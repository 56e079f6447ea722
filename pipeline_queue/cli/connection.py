"""Which broker and storage a command talks to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pipeline_queue.cli.printing import echo
from pipeline_queue.client import Client
from pipeline_queue.contract.errors import SettingsError
from pipeline_queue.contract.settings import BROKER_URL, STORAGE, THREADS_PER_SLOT
from pipeline_queue.local.attach import running_service
from pipeline_queue.local.folder import DATA, DataFolder


def _note_threads(_context: click.Context, _parameter: click.Parameter, threads: int | None) -> None:
    if threads is not None:
        os.environ[THREADS_PER_SLOT] = str(threads)


threads_option: Callable[[Any], Any] = click.option(
    "--threads-per-slot",
    type=click.IntRange(0, 1024),
    expose_value=False,
    callback=_note_threads,
    help="Let numeric libraries of a step use this many threads; 0 leaves them alone (default: CPUs / slots).",
)
"""For commands that start a worker: the worker reads the setting from the environment."""


def is_local() -> bool:
    """Whether no broker is configured, so that the embedded default applies."""
    return not os.environ.get(BROKER_URL)


def data_folder() -> DataFolder:
    """Where commands that submit keep their runs: here, whatever lies above."""
    return DataFolder.of(os.environ, Path.cwd())


def nearest_data_folder() -> DataFolder:
    """Where commands that read or change runs find them: here, or in a folder above, as git does; a note names it."""
    data = DataFolder.nearest(os.environ, Path.cwd())
    if data.root != data_folder().root:
        echo(f"note: using the runs in {data.root}", err=True)
    return data


@contextmanager
def reading() -> Iterator[Client]:
    """A client for commands that read: of the running service if there is one, else of the storage alone."""
    if not is_local():
        with Client.connect() as client:
            yield client
        return
    data = nearest_data_folder()
    note = running_service(data)
    with Client(data.storage, data.settings(note.broker_url) if note else None) as client:
        yield client


@contextmanager
def working(slots: int | None = None, nearest: bool = False) -> Iterator[Client]:
    """A client for commands that submit; without a broker, the embedded service is started.

    `nearest` also finds existing runs in a folder above.
    """
    if is_local():
        data = nearest_data_folder() if nearest else data_folder()
        if not nearest:
            tell_folder_above(data)
        with Client.local(data.root.parent, slots, say=lambda text: echo(text, err=True)) as client:
            yield client
        return
    with Client.connect() as client:
        yield client


def tell_folder_above(data: DataFolder) -> None:
    """Prints a note if runs will be kept here although a folder above has runs too."""
    above = None if data.root.exists() else DataFolder.above(os.environ, Path.cwd())
    if above and not os.environ.get(DATA):
        echo(
            f"note: runs are kept in {data.root}; set {DATA}={above.root} to keep them with those above",
            err=True,
        )


def check_settings() -> None:
    """Raises SettingsError early when only the broker is configured."""
    if not is_local() and not os.environ.get(STORAGE):
        raise SettingsError(f"{BROKER_URL} is set but {STORAGE} is not; set it to the folder that all workers share")


def storage_root() -> Path:
    """The storage that a new submission goes to."""
    return data_folder().storage if is_local() else Path(os.environ[STORAGE]).expanduser().absolute()
