"""The one way to print: what a log, a file name or a value holds reaches the terminal as text that does nothing."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from typing import TextIO

import click

_TAB_WIDTH = 4
_MIN_WIDTH = 40
# Controls but the line's end, what turns the direction of text, what is not seen, halves of surrogate pairs.
_HARMFUL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
    "|[\U000e0000-\U000e007f]"
)


def harmless(text: str) -> str:
    """The text with every control character shown as an escape: `\\x1b` instead of what it does."""
    return _HARMFUL.sub(_escaped, text)


def one_line(text: str) -> str:
    """`harmless`, with line ends shown too: for a cell of a table."""
    return harmless(text).replace("\n", "\\n")


def within_width(line: str) -> str:
    """On a terminal broken between words, with what follows indented; paths stay whole. Elsewhere as it is."""
    if not sys.stdout.isatty():
        return line
    width = max(shutil.get_terminal_size().columns, _MIN_WIDTH)
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def echo(text: str = "", err: bool = False) -> None:
    """Prints a line, or several, that are harmless."""
    click.echo(harmless(text), err=err)


def echo_json(text: str) -> None:
    """Prints JSON, in which such characters are written as JSON escapes."""
    click.echo(_HARMFUL.sub(_escaped_for_json, text))


def survive_any_stream() -> None:
    """What a stream cannot hold is replaced, and one that is closed swallows everything: no command dies of it."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as we run
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character == "\t":
        return " " * _TAB_WIDTH
    if "\ud800" <= character <= "\udfff":
        return f"\\x{ord(character) - 0xDC00:02x}" if "\udc80" <= character <= "\udcff" else "\ufffd"
    return character.encode("unicode_escape").decode()


def _escaped_for_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
