"""A part of the log of a run's step, for readers that come back for more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from pipeline_queue.contract.errors import InputError, NotFoundError, StorageAwayError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.addresses import open_file
from pipeline_queue.storage.layout import LOG, LOST, RUN_END, attempt_number, latest_attempt
from pipeline_queue.storage.run_store import RunStore, StoredRun

LAST_BYTES = 64 * 1024
MAX_PART_BYTES = 1_000_000
_MAX_CHARACTER_BYTES = 4
_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class LogPart:
    """The text from byte `offset` to `next` of a log of `size` bytes. `is_over`: there is nothing after `next`, and
    there never will be."""

    offset: int
    next: int
    size: int
    text: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """The folder of an attempt, None before the first one; `is_over`: its log will not grow any more."""

    folder: str | None
    is_over: bool


def read_log(
    storage: RunStore,
    sweep: Sweep,
    run: RunId,
    step: str,
    attempt: str | None,
    offset: int | None,
    most_bytes: int = MAX_PART_BYTES,
) -> LogPart:
    """A part of the log from `offset`, the last 64 kB for None; of the attempt of that name, else of the latest one.

    Bytes that are no UTF-8 become U+FFFD. Raises NotFoundError, InputError for a negative offset, StorageError.
    """
    if offset is not None and offset < 0:
        raise InputError("the offset must not be negative")
    place, opened = _open(storage, sweep, run, step, attempt)
    if opened is None:
        return LogPart(offset or 0, offset or 0, 0, "", place.is_over)
    file, size = opened
    most_bytes = max(most_bytes, _MAX_CHARACTER_BYTES)  # else a part could be empty, and the next one, too
    first = max(0, size - min(LAST_BYTES, most_bytes)) if offset is None else offset
    data = _read(file, first, min(most_bytes, max(0, size - first)))
    if offset is None and first > 0:
        skipped = start_of_text(data)
        first, data = first + skipped, data[skipped:]
    is_last = place.is_over and first + len(data) >= size
    text, used = decoded(data, is_last)
    return LogPart(first, first + used, size, text, is_last)


def open_log(storage: RunStore, sweep: Sweep, run: RunId, step: str, attempt: str | None) -> tuple[IO[bytes], int]:
    """The whole log, and its size. Raises NotFoundError when there is none, StorageError."""
    _, opened = _open(storage, sweep, run, step, attempt)
    if opened is None:
        raise NotFoundError(f"step {step} of run {run} printed nothing")
    return opened


def start_of_text(data: bytes) -> int:
    """Where the first whole line of a part begins; its first whole character if it has one line only."""
    line = data.find(b"\n") + 1
    if 0 < line < len(data):
        return line
    return next((at for at, byte in enumerate(data[:_MAX_CHARACTER_BYTES]) if byte & 0xC0 != 0x80), 0)


def decoded(data: bytes, is_last: bool) -> tuple[str, int]:
    """The text, and how many bytes it took: without a character at the end that may go on, unless nothing follows."""
    used = len(data) if is_last else len(data) - _begun_character(data)
    return data[:used].decode(errors="replace"), used


def _begun_character(data: bytes) -> int:
    """How many bytes at the end begin a character of UTF-8 that is not whole."""
    for back in range(1, min(_MAX_CHARACTER_BYTES, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 2 if byte & 0xE0 == 0xC0 else 3 if byte & 0xF0 == 0xE0 else 4 if byte & 0xF8 == 0xF0 else 1
        return back if length > back else 0
    return 0


def _open(
    storage: RunStore, sweep: Sweep, run: RunId, step: str, attempt: str | None
) -> tuple[_Place, tuple[IO[bytes], int] | None]:
    """The log with its size, None where there is none. Raises NotFoundError, StorageError."""
    place = _find(storage, sweep, run, step, attempt)
    opened = _opened(place)
    if opened is None and place.folder and not place.is_over:
        # The folder was renamed meanwhile: the step was published, or its worker lost it.
        place = _find(storage, sweep, run, step, attempt)
        opened = _opened(place)
    return place, opened


def _opened(place: _Place) -> tuple[IO[bytes], int] | None:
    """A step may have replaced its log by a link or a pipe: what is no file of the attempt counts as no log."""
    if place.folder is None:
        return None
    try:
        return open_file(f"{place.folder}/{LOG}", place.folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{place.folder}/{LOG} cannot be read: {error.strerror or error}") from error


def _read(file: IO[bytes], offset: int, size_bytes: int) -> bytes:
    try:
        with file:
            file.seek(offset)
            return file.read(size_bytes) or b""
    except OSError as error:
        raise StorageError(f"the log cannot be read: {error.strerror or error}") from error


def _find(storage: RunStore, sweep: Sweep, run: RunId, step: str, attempt: str | None) -> _Place:
    """Names come from outside: a path is made only of one that exists. Raises NotFoundError, StorageError."""
    if not sweep.pipeline.has(step):
        steps = ", ".join(one.name for one in sweep.pipeline.steps)
        raise NotFoundError(f"run {run} has no step '{step[:_SHOWN_CHARACTERS]}'; its steps are {steps}")
    paths = sweep.paths(storage, run)
    names = paths.names()
    latest = latest_attempt(step, names)
    name = (step if step in names else latest) if attempt is None else _attempt(paths, names, step, attempt)
    if name is None and attempt is not None:
        raise NotFoundError(f"step {step} of run {run} has no attempt '{attempt[:_SHOWN_CHARACTERS]}'")
    if name is None:
        return _Place(None, RUN_END in names)
    is_over = RUN_END in names or step in names or name != latest or name.endswith(LOST) or _has_ended(paths, name)
    return _Place(paths.where(name), is_over)


def _attempt(paths: StoredRun, names: frozenset[str], step: str, attempt: str) -> str | None:
    """What the attempt is called now: its folder is renamed when it is published, or when its worker loses it."""
    if attempt == step:
        return step if step in names else None
    if attempt_number(step, attempt) is None:
        return None
    if attempt in names or f"{attempt}{LOST}" in names:
        return attempt if attempt in names else f"{attempt}{LOST}"
    record = paths.attempt_record(step) if step in names else None
    return step if record and attempt == f"{step}.attempt-{record.attempt}-{record.uid}" else None


def _has_ended(paths: StoredRun, name: str) -> bool:
    try:
        return paths.attempt_record(name) is not None
    except StorageAwayError:
        raise
    except StorageError:
        return True  # a damaged manifest; the log can be read all the same
