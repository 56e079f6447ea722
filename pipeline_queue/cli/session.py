"""Which broker and storage a command talks to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_queue.client import Client
from pipeline_queue.contract.errors import SettingsError
from pipeline_queue.contract.settings import BROKER_URL, STORAGE
from pipeline_queue.local.attach import running_service
from pipeline_queue.local.folder import DataFolder


def is_local() -> bool:
    """Whether no broker is configured, so that the embedded default applies."""
    return not os.environ.get(BROKER_URL)


def data_folder() -> DataFolder:
    return DataFolder.of(os.environ, Path.cwd())


@contextmanager
def reading() -> Iterator[Client]:
    """A client for commands that look: of the running service if there is one, else of the storage alone."""
    if not is_local():
        with Client.connect() as client:
            yield client
        return
    data = data_folder()
    note = running_service(data)
    with Client(data.storage, data.settings(note.broker_url) if note else None) as client:
        yield client


@contextmanager
def working(slots: int | None = None) -> Iterator[Client]:
    """A client for commands that submit; without a broker, the embedded service is started."""
    if is_local():
        with Client.local(slots=slots) as client:
            yield client
        return
    with Client.connect() as client:
        yield client


def check_settings() -> None:
    """Raises SettingsError early when only the broker is configured."""
    if not is_local() and not os.environ.get(STORAGE):
        raise SettingsError(f"{BROKER_URL} is set but {STORAGE} is not; set it to the folder that workers share")


def storage_root() -> Path:
    return data_folder().storage if is_local() else Path(os.environ[STORAGE]).expanduser().absolute()
