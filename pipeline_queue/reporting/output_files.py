"""Opens one published or kept file of a run's step, by the path that the step's manifest lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from pipeline_queue.contract.errors import InputError, NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import OutputFile
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.addresses import open_file
from pipeline_queue.storage.layout import KEPT, OUTPUTS, latest_attempt
from pipeline_queue.storage.run_store import RunStore

_SHOWN_CHARACTERS = 200


def open_output(storage: RunStore, sweep: Sweep, run: RunId, step: str, path: str) -> tuple[IO[bytes], int, str]:
    """The file, its size in bytes and its name.

    Raises NotFoundError for what the manifest does not list or what was removed, InputError for a link that does not
    lead to a file of the step, StorageError.
    """
    shown = path[:_SHOWN_CHARACTERS]
    missing = NotFoundError(f"step {step[:_SHOWN_CHARACTERS]} of run {run} has no file '{shown}'")
    for folder, kind, listed in _listed(storage, sweep, run, step):
        if listed.path != path:
            continue
        if ".." in path.split("/") or "\0" in path:  # the manifest was altered
            raise InputError(f"'{shown}' leads outside the files of step {step}")
        try:
            file, size = open_file(f"{folder}/{kind}/{path}", folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            if listed.size is None and not path.endswith("/"):
                raise InputError(f"'{shown}' is a link that does not lead to a file of step {step}") from error
            raise missing from error
        except OSError as error:
            raise StorageError(f"'{shown}' of step {step} cannot be read: {error.strerror or error}") from error
        return file, size, path.rpartition("/")[2]
    raise missing


def _listed(storage: RunStore, sweep: Sweep, run: RunId, step: str) -> Iterator[tuple[str, str, OutputFile]]:
    """The step's folder, the folder in it, and the file, for each that the manifest lists."""
    if not sweep.pipeline.has(step):
        return
    paths = sweep.paths(storage, run)
    names = paths.names()
    name = step if step in names else latest_attempt(step, names)
    record = paths.attempt_record(name) if name else None
    if name is None or record is None:
        return
    folder = paths.where(name)
    if name == step:
        yield from ((folder, OUTPUTS, file) for file in record.outputs)
    yield from ((folder, KEPT, file) for file in record.kept)
