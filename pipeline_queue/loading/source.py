"""The text of a file: bytes to characters, and offsets back to lines and columns."""

from __future__ import annotations

import bisect
import json
import re

from pipeline_queue.contract.errors import Place, Problem

_LINE_END = re.compile(r"\r\n|\r|\n")
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# What a JSON string may hold and YAML reads differently or not at all: surrogate pairs, control
# characters and noncharacters, and the line ends only YAML knows.
_JSON_ONLY = re.compile(
    r"\t|(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    "|[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"
)


class Source:
    """A file's text as the YAML parser sees it, which for JSON is not quite as it was written."""

    def __init__(self, name: str, original: str) -> None:
        self.name = name
        self.original = original
        self.text = original
        self._line_starts = [0, *(match.end() for match in _LINE_END.finditer(original))]
        # Offsets of `text` after which everything stands `_shifts` characters further on in `original`.
        self._shift_offsets: list[int] = []
        self._shifts: list[int] = []
        if original.lstrip()[:1] in ("{", "[", '"') and _is_json(original):
            self._escape_what_only_json_reads()

    def place(self, offset: int) -> Place:
        """The line and column, both from 1, of an offset of `text`."""
        line, column = self.line_and_column(offset)
        return Place(self.name, line, column)

    def line_and_column(self, offset: int) -> tuple[int, int]:
        shift_index = bisect.bisect_right(self._shift_offsets, offset) - 1
        original = offset + (self._shifts[shift_index] if shift_index >= 0 else 0)
        line = bisect.bisect_right(self._line_starts, original)
        return line, original - self._line_starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        end = self._line_starts[line] if line < len(self._line_starts) else len(self.original)
        return self.original[self._line_starts[line - 1] : end]

    def _escape_what_only_json_reads(self) -> None:
        parts: list[str] = []
        copied_to = length = 0
        for match in _JSON_ONLY.finditer(self.original):
            replacement = _yaml_spelling(match)
            parts += (self.original[copied_to : match.start()], replacement)
            length += match.start() - copied_to + len(replacement)
            copied_to = match.end()
            self._shift_offsets.append(length)
            self._shifts.append(copied_to - length)
        self.text = "".join((*parts, self.original[copied_to:]))


def decode(name: str, data: bytes) -> Source | Problem:
    """The source of these bytes, or why they are no text YAML can hold."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = Source(name, error.object[: error.start].decode("utf-8", "replace"))
        hint = "save the file as UTF-8"
        return Problem(before.place(len(before.original)), "the file is not valid UTF-8 here", hint)
    source = Source(name, text)
    bad = _NOT_PRINTABLE.search(source.text)
    if bad:
        message = f"the control character U+{ord(bad[0]):04X} is not allowed here"
        hint = 'remove it, or write it as an escape in double quotes, such as "\\x1b"'
        return Problem(source.place(bad.start()), message, hint)
    return source


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _yaml_spelling(match: re.Match[str]) -> str:
    if match[0] == "\t":
        return " "
    if match[2] is None:
        return f"\\U{ord(match[0]):08x}"
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
