"""Reads the numbers of a step's `metrics.json`, and notes what of it was not read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_queue.contract.wording import counted, was_were
from pipeline_queue.model.problems import quoted, shown
from pipeline_queue.storage.file_tree import make_readable

MAX_BYTES = 32 * 1024 * 1024
MAX_VALUE_BYTES = 8 * 1024 * 1024
"""Of one JSON text, the file's or a line's: Python makes up to 25 times as much of it."""
MAX_METRICS = 1_000
MAX_NAME_CHARACTERS = 200

_FILE = "metrics.json"
_MAX_NAMED = 8
_MAX_LEFT_OUT = 1_000
_MAX_SHOWN_CHARACTERS = 50
_MAX_DIGITS = 1_000
_NOT_BLANK = re.compile(r"[^ \t\r\n\ufeff]")


@dataclass
class _Reader:
    values: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)
    rounded: dict[str, str] = field(default_factory=dict)
    more_left_out: int = 0
    too_many: int = 0

    def take(self, data: dict[Any, Any]) -> None:
        """The numbers of an object, nested names joined by dots; a name that comes again takes the later value.

        A later NaN, infinity or too large number takes the place of an earlier number: that one is not the last.
        """
        seen: set[str] = set()
        pending: list[tuple[str, Iterator[tuple[str, Any]]]] = [("", iter(data.items()))]
        while pending:
            above, items = pending[-1]
            key, value = next(items, (None, None))
            if key is None:
                pending.pop()
                continue
            # One that is too long stays so, however it goes on: names of a whole file must not add up.
            name = (f"{above}.{key}" if above else key)[: MAX_NAME_CHARACTERS + 1]
            if isinstance(value, dict):
                pending.append((name, iter(value.items())))
            else:
                if name in seen and _is_name(name):
                    _add(self.repeated, name)
                seen.add(name)
                self._take_value(name, value)

    def parse(self, text: str | bytes) -> Any:
        """The value of a JSON text; a name that an object holds twice is remembered. Raises ValueError."""
        try:
            return json.loads(text, object_pairs_hook=self.object_of)
        except json.JSONDecodeError:
            raise
        except ValueError:  # Python refuses to read a number of thousands of digits
            return json.loads(text, object_pairs_hook=self.object_of, parse_int=_int_of)

    def object_of(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    _add(self.repeated, name)
                seen.add(name)
        return found

    def _take_value(self, name: str, value: object) -> None:
        number, why = _number_of(value)
        if number is None:
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.values.pop(name, None)
            self._leave_out(name, why)
        elif not _is_name(name):
            self._leave_out(name, "its name is empty, too long or no text in UTF-8")
        elif name not in self.values and len(self.values) >= MAX_METRICS:
            self.too_many += 1
        else:
            self.values[name] = number
            self.left_out.pop(name, None)
            if isinstance(value, int) and int(number) != value:
                _add(self.rounded, name)

    def _leave_out(self, name: str, why: str) -> None:
        if name in self.left_out or len(self.left_out) < _MAX_LEFT_OUT:
            self.left_out[name] = why
        else:
            self.more_left_out += 1

    def notes(self) -> Iterator[str]:
        if self.left_out:
            yield f"{_FILE}: not read: {_named(self.left_out, self.more_left_out)}"
        if self.repeated:
            yield f"{_FILE}: of several values in one object the last was read: {_named(self.repeated, 0)}"
        if self.rounded:
            yield f"{_FILE}: rounded to about 16 digits: {_named(self.rounded, 0)}"
        if self.too_many:
            more = f"{counted(self.too_many, 'further number')} {was_were(self.too_many)}"
            yield f"{_FILE}: {more} not read; at most {MAX_METRICS:,} are"


def read_metrics(path: Path) -> tuple[dict[str, float], tuple[str, ...]]:
    """The finite numbers and the notes on what was not read.

    An object is read, or several of which the last value of each name counts: a list of objects, JSON lines, or objects
    one after the other.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            return {}, (f"{_FILE} has {counted(size, 'byte')} and was not read; at most {MAX_BYTES:,} are",)
        make_readable(path)
        data = path.read_bytes()
    except OSError as error:
        return {}, (f"{_FILE} could not be read: {error.strerror}",)
    if not data.strip():
        return {}, (f"{_FILE} is empty",)
    reader = _Reader()
    note = ""
    try:
        if size > MAX_VALUE_BYTES:
            note = _take_lines(
                reader, data, f"has {counted(size, 'byte')} and was not read; above {MAX_VALUE_BYTES:,} only lines are"
            )
        else:
            note = _take_all(reader, reader.parse(data))
    except RecursionError:
        note = f"{_FILE} is nested too deeply and was not read"
    except ValueError as error:
        note = _take_lines(reader, data, f"is not JSON and was not read: {error}")
    return reader.values, tuple(one for one in (note, *reader.notes()) if one)


def _take_all(reader: _Reader, data: object) -> str:
    if isinstance(data, dict):
        reader.take(data)
        return "" if data else f"{_FILE} has no numbers in it"
    items = data if isinstance(data, list) else []
    objects = [item for item in items if isinstance(item, dict)]
    if not objects:
        return f"{_FILE} is {_kind(data)}, not an object of names and numbers, and was not read"
    for item in objects:
        reader.take(item)
    others = len(items) - len(objects)
    spoilt = f"; {counted(others, 'other value')} {was_were(others)} not read" if others else ""
    if len(objects) == 1:
        return f"{_FILE} is a list with 1 object, which was read{spoilt}" if spoilt else ""
    return f"{_FILE} is a list of {counted(len(objects), 'object')}: the last value of each name was read{spoilt}"


def _take_lines(reader: _Reader, data: bytes, otherwise: str) -> str:
    """JSON lines, or objects one after the other. `otherwise` is said where there are none at all."""
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        return f"{_FILE} is no text in UTF-8 and was not read"
    good, bad = 0, 0
    # Not `splitlines`, which also breaks within texts (at U+2028).
    for line in text.replace("\r", "\n").split("\n"):
        if not line.strip():
            continue
        try:
            item = reader.parse(line) if len(line) <= MAX_VALUE_BYTES else None
        except (ValueError, RecursionError):
            item = None
        if isinstance(item, dict):
            reader.take(item)
            good += 1
        else:
            bad += 1
    if good:
        spoilt = f"; {counted(bad, 'line')} {was_were(bad)} not read" if bad else ""
        return f"{_FILE} holds {counted(good, 'line')} of JSON: the last value of each name was read{spoilt}"
    return _take_objects(reader, text) or f"{_FILE} {otherwise}"


def _take_objects(reader: _Reader, text: str) -> str:
    """Objects one after the other, as a step leaves them that appends; the note, empty where there is none at all."""
    decoder = json.JSONDecoder(object_pairs_hook=reader.object_of)
    position, good = 0, 0
    text = text if len(text) <= MAX_VALUE_BYTES else ""
    while start := _NOT_BLANK.search(text, position):
        try:
            item, position = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            break
        if not isinstance(item, dict):
            break
        reader.take(item)
        good += 1
    if not good:
        return ""
    spoilt = "; what follows them was not read" if start else ""
    return f"{_FILE} holds {counted(good, 'object')}: the last value of each name was read{spoilt}"


def _int_of(digits: str) -> int:
    """A number of thousands of digits, which Python would not read, as one that no float can hold either."""
    return int(digits) if len(digits) < _MAX_DIGITS else 10**_MAX_DIGITS


def _add(names: dict[str, str], name: str) -> None:
    if len(names) < _MAX_LEFT_OUT:
        names[name[: MAX_NAME_CHARACTERS + 1]] = ""


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


def _named(names: dict[str, str], further: int) -> str:
    """The first names, each with its reason."""
    listed = [f"{_shown(name)} ({why})" if why else _shown(name) for name, why in list(names.items())[:_MAX_NAMED]]
    more = len(names) - _MAX_NAMED + further
    return ", ".join(listed) + (f" and {more:,} more" if more > 0 else "")


def _shown(name: str) -> str:
    return shown(name) if _is_name(name) else quoted(name[:_MAX_SHOWN_CHARACTERS].encode(errors="replace").decode())


def _is_name(name: str) -> bool:
    """JSON can write half of a surrogate pair (`"\\ud800"`), which no record of ours can."""
    return 0 < len(name) <= MAX_NAME_CHARACTERS and not any("\ud800" <= character <= "\udfff" for character in name)
