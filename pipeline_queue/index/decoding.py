"""Checks what we read from our own Redis keys, because others may have written there; one function per kind of value.

A function raises GarbageError for a value that cannot be ours, or omits it from its result. The caller drops the value,
logs one line and continues. The line names the key and the fault, never the content.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args

from pipeline_queue.contract.errors import NotFoundError
from pipeline_queue.contract.ids import RunId, is_sweep_id
from pipeline_queue.contract.states import RunState, StepState

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

MAX_ROW_BYTES = 64 * 1024
"""Of a row of JSON, of a worker or a dead letter."""
_MAX_TEXT = 4096
_MAX_NAME = 300
_MAX_LIST = 1000
_MAX_COUNT = 10**10
_MAX_MILLISECONDS = 10**14
"""Of a time: about three thousand years."""
_NUMBER = re.compile(r"-?[0-9]{1,16}(\.[0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_STORAGE_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SWEEP_STATES = ("running", "paused", "stopped", "cancelled")
_COUNTS = ("total", "cursor", "unstarted", "flight", "succeeded", "failed", "cancelled")
_OPTIONAL_COUNTS = ("redo", "before", "most", "max_parallel", "max_failures", "measured", "metrics")
_TIMES = ("created", "started", "ended", "cancel")
_STEP_NUMBERS = ("attempts", "failures", "deaths", "exit", "until", "started", "due")
_ALLOTTED = ("queued", "started")


class GarbageError(ValueError):
    """We never write such a value; the text names the fault without showing the value."""


def is_text(value: object, max_characters: int = _MAX_TEXT) -> bool:
    """Whether it is a text of at most this length, decoded entirely from valid UTF-8."""
    if not isinstance(value, str) or len(value) > max_characters:
        return False
    return not any("\ud800" <= one <= "\udfff" for one in value)


def printable(text: str) -> str:
    """The text on one line, with control characters escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def describe_key(key: str) -> str:
    """A key's name in a form that is safe in a log line."""
    return printable(key[:_MAX_NAME])


def readable(key: str, entries: Iterable[str], decode: Callable[[str], _T]) -> tuple[list[_T], list[str]]:
    """Decode a key's entries; returns the values, and the garbage for the caller to remove. Logs one line."""
    found: list[_T] = []
    garbage: list[str] = []
    reasons: set[str] = set()
    for entry in entries:
        try:
            found.append(decode(entry))
        except GarbageError as error:
            garbage.append(entry)
            reasons.add(str(error))
    if garbage:
        logger.warning("drop key=%s entries=%d: %s", describe_key(key), len(garbage), ", ".join(sorted(reasons)))
    return found, garbage


def sweep_name(member: str) -> str:
    """A sweep's id. Raises GarbageError, as do the functions below."""
    if not is_sweep_id(member):
        raise GarbageError("not the name of a sweep")
    return member


def run_name(member: str) -> RunId:
    """The run of `<sweep>.<index>`."""
    try:
        return RunId.parse(member)
    except NotFoundError:
        raise GarbageError("not the name of a run") from None


def run_and_step(member: str) -> tuple[RunId, str]:
    """The run and step of `<run> <step>`."""
    run, blank, step = member.partition(" ")
    if not blank or not is_text(step, _MAX_NAME) or not step.isprintable():
        raise GarbageError("not the name of a run and a step")
    return run_name(run), step


def index_in_sweep(member: str) -> int:
    """The index of a run."""
    if not _INDEX.fullmatch(member):
        raise GarbageError("not the index of a run")
    return int(member)


def storage_token(value: str) -> str:
    """A storage's token."""
    if not _STORAGE_TOKEN.fullmatch(value):
        raise GarbageError("not the token of a storage")
    return value


def is_count(text: str) -> bool:
    """Whether it is a whole number >= 0."""
    return bool(_WHOLE.fullmatch(text)) and not text.startswith("-")


def check_run_hash(fields: Mapping[str, str]) -> None:
    """Check a run's fields that we calculate with or show; a hash without `state` belongs to a run that is gone."""
    _check_choice(fields, "state", get_args(RunState))
    _check_choice(fields, "allotted", _ALLOTTED)
    _check_numbers(fields, _TIMES, 0, _MAX_MILLISECONDS)
    _check_numbers(fields, ("published",), 0, _MAX_COUNT)
    for name in fields:
        step, mark, kind = name.rpartition("|")
        if not mark:
            continue
        if kind == "state":
            _require(is_text(step, _MAX_NAME), "a step's name is no text")
            _check_choice(fields, name, get_args(StepState))
        elif kind in _STEP_NUMBERS:
            _check_numbers(fields, (name,), -_MAX_COUNT, _MAX_MILLISECONDS)
        elif kind == "seconds":
            _check_seconds(fields[name])


def check_sweep_hash(fields: Mapping[str, str]) -> None:
    """Check the fields of a sweep. Does not check whether its counts are consistent (see LiveSweep.adds_up)."""
    _require("state" in fields and "created" in fields, "a sweep without state or time")
    _check_choice(fields, "state", _SWEEP_STATES)
    for name in _COUNTS:
        _require(name in fields, f"a sweep without {name}")
        _require(bool(_WHOLE.fullmatch(fields[name])), f"{name} is no whole number")
    for name in _OPTIONAL_COUNTS:
        _require(not fields.get(name) or bool(_WHOLE.fullmatch(fields[name])), f"{name} is no whole number")
    for name in (*_COUNTS, *_OPTIONAL_COUNTS):
        _require(abs(int(fields.get(name) or 0)) <= _MAX_COUNT, f"{name} is too large")
    _require(int(fields["total"]) > 0 and int(fields["cursor"]) >= 0, "a sweep of less than nothing")
    _check_numbers(fields, ("created", "ended"), 0, _MAX_MILLISECONDS)


def json_row(text: str) -> dict[str, Any]:
    """Parse a row of JSON with a version; does not parse rows over MAX_ROW_BYTES."""
    if len(text) > MAX_ROW_BYTES:
        raise GarbageError(f"more than {MAX_ROW_BYTES} bytes")
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        raise GarbageError("no JSON") from None
    if not isinstance(row, dict) or not isinstance(row.get("v"), int):
        raise GarbageError("no JSON object with a version")
    return row


def text_of(row: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text of a row, printable on one line."""
    value = row.get(name, default)
    if not is_text(value):
        raise GarbageError(f"{name} is no text")
    return printable(str(value))


def texts_of(row: Mapping[str, Any], name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """A list of texts of a row, each printable on one line."""
    values = row.get(name, default)
    if not isinstance(values, list | tuple) or len(values) > _MAX_LIST or not all(map(is_text, values)):
        raise GarbageError(f"{name} is no list of texts")
    return tuple(map(printable, values))


def count_of(row: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number >= 0 of a row."""
    value = row.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNT * 1000:
        raise GarbageError(f"{name} is no number from 0")
    return value


def seconds_of(row: Mapping[str, Any], name: str) -> float:
    """A moment in Unix seconds of a row."""
    value = row.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MAX_MILLISECONDS / 1000:
        raise GarbageError(f"{name} is no time")
    return float(value)


def _check_choice(fields: Mapping[str, str], name: str, choices: tuple[str, ...]) -> None:
    _require(name not in fields or fields[name] in choices, f"an unknown {name.rpartition('|')[2]}")


def _check_numbers(fields: Mapping[str, str], names: Iterable[str], least: float, most: float) -> None:
    for name in names:
        text = fields.get(name)
        if text:  # may be empty, as an exit code is
            is_one = bool(_NUMBER.fullmatch(text)) and least <= float(text) <= most
            _require(is_one, f"{name.rpartition('|')[2]} is no number that it can be")


def _check_seconds(text: str) -> None:
    try:
        _require(not text or (math.isfinite(float(text)) and abs(float(text)) < _MAX_COUNT), "seconds are no time")
    except ValueError:
        raise GarbageError("seconds are no number") from None


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise GarbageError(otherwise)
