"""Reads the numbers of a step's `metrics.json`, and notes what of it was not read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_queue.problems import quoted, shown

MAX_BYTES = 32 * 1024 * 1024
MAX_METRICS = 1_000
MAX_NAME_CHARACTERS = 200

_FILE = "metrics.json"
_MAX_NAMED = 8


@dataclass
class _Reader:
    values: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    too_many: int = 0

    def take(self, data: dict[Any, Any]) -> None:
        """The numbers of an object, nested names joined by dots; a name that comes again takes the later value."""
        pending: list[tuple[str, Any]] = [("", data)]
        while pending:
            name, value = pending.pop()
            if isinstance(value, dict):
                inside = [(f"{name}.{key}" if name else str(key), item) for key, item in value.items()]
                pending.extend(reversed(inside))
                continue
            number, why = _number_of(value)
            if number is None:
                self.left_out[name] = why
            elif not _is_name(name):
                self.left_out[name] = "its name is empty, too long or no text in UTF-8"
            elif name not in self.values and len(self.values) >= MAX_METRICS:
                self.too_many += 1
            else:
                self.values[name] = number
                self.left_out.pop(name, None)

    def notes(self) -> Iterator[str]:
        if self.left_out:
            yield f"{_FILE}: not read: {_named(self.left_out)}"
        if self.too_many:
            yield f"{_FILE}: {self.too_many:,} further numbers were not read; at most {MAX_METRICS:,} are"


def read_metrics(path: Path) -> tuple[dict[str, float], tuple[str, ...]]:
    """The finite numbers and the notes on what was not read.

    An object is read, or several of which the last value of each name counts: a list of objects, or JSON lines.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return {}, (f"{_FILE} has {size:,} bytes and was not read; at most {MAX_BYTES:,} are",)
        data = path.read_bytes()
    except OSError as error:
        return {}, (f"{_FILE} could not be read: {error.strerror}",)
    if not data.strip():
        return {}, (f"{_FILE} is empty",)
    reader = _Reader()
    note = ""
    try:
        note = _take_all(reader, json.loads(data))
    except RecursionError:
        note = f"{_FILE} is nested too deeply and was not read"
    except ValueError as error:
        note = _take_lines(reader, data, error)
    return reader.values, tuple(one for one in (note, *reader.notes()) if one)


def _take_all(reader: _Reader, data: object) -> str:
    if isinstance(data, dict):
        reader.take(data)
        return "" if data else f"{_FILE} has no numbers in it"
    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        for item in data:
            reader.take(item)
        several = f"{_FILE} is a list of {len(data):,} objects: the last value of each name was read"
        return several if len(data) > 1 else ""
    return f"{_FILE} is {_kind(data)}, not an object of names and numbers, and was not read"


def _take_lines(reader: _Reader, data: bytes, error: ValueError) -> str:
    """JSON lines; lines that are none are counted."""
    try:
        lines = data.decode(json.detect_encoding(data)).splitlines()
    except UnicodeDecodeError:
        return f"{_FILE} is no text in UTF-8 and was not read"
    good, bad = 0, 0
    for line in lines:
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            item = None
        if isinstance(item, dict):
            reader.take(item)
            good += 1
        else:
            bad += 1
    if not good:
        return f"{_FILE} is not JSON and was not read: {error}"
    spoilt = f"; {bad:,} lines were not read" if bad else ""
    return f"{_FILE} holds {good:,} lines of JSON: the last value of each name was read{spoilt}"


def _number_of(value: object) -> tuple[float | None, str]:
    """The number, or why there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, _kind(value)
    try:
        number = float(value)
    except OverflowError:
        return None, "too large"
    return (number, "") if math.isfinite(number) else (None, "NaN" if math.isnan(number) else "infinite")


def _kind(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, bool):
        return "true or false"
    return {type(None): "null", str: "a text", int: "a number", float: "a number"}.get(type(value), "something else")


def _named(names: dict[str, str]) -> str:
    """The first names, each with its reason."""
    listed = [f"{_shown(name)} ({why})" if why else _shown(name) for name, why in list(names.items())[:_MAX_NAMED]]
    more = len(names) - _MAX_NAMED
    return ", ".join(listed) + (f" and {more:,} more" if more > 0 else "")


def _shown(name: str) -> str:
    return shown(name) if _is_name(name) else quoted(name.encode(errors="replace").decode())


def _is_name(name: str) -> bool:
    """JSON can write half of a surrogate pair (`"\\ud800"`), which no record of ours can."""
    return 0 < len(name) <= MAX_NAME_CHARACTERS and not any("\ud800" <= character <= "\udfff" for character in name)
