"""Which broker and storage a command talks to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_queue.cli.printing import echo
from pipeline_queue.client import Client
from pipeline_queue.contract.errors import SettingsError
from pipeline_queue.contract.settings import BROKER_URL, STORAGE
from pipeline_queue.local.attach import running_service
from pipeline_queue.local.folder import DATA, DataFolder


def is_local() -> bool:
    """Whether no broker is configured, so that the embedded default applies."""
    return not os.environ.get(BROKER_URL)


def data_folder() -> DataFolder:
    """Where commands that submit keep their runs: here, whatever lies above."""
    return DataFolder.of(os.environ, Path.cwd())


def nearest_data_folder() -> DataFolder:
    """Where commands look that read or change runs: here, or as git does in a folder above; it is said which."""
    data = DataFolder.nearest(os.environ, Path.cwd())
    if data.root != data_folder().root:
        echo(f"note: the runs of {data.root}", err=True)
    return data


@contextmanager
def reading() -> Iterator[Client]:
    """A client for commands that look: of the running service if there is one, else of the storage alone."""
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

    `nearest`: for runs that are there already, also in a folder above.
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
    """Says that runs are about to be kept here although another folder of runs lies above."""
    above = None if data.root.exists() else DataFolder.above(os.environ, Path.cwd())
    if above and not os.environ.get(DATA):
        echo(f"note: runs are kept in {data.root}; {DATA}={above.root} keeps them with those above", err=True)


def check_settings() -> None:
    """Raises SettingsError early when only the broker is configured."""
    if not is_local() and not os.environ.get(STORAGE):
        raise SettingsError(f"{BROKER_URL} is set but {STORAGE} is not; set it to the folder that workers share")


def storage_root() -> Path:
    """Of submissions that are about to be made."""
    return data_folder().storage if is_local() else Path(os.environ[STORAGE]).expanduser().absolute()
