"""Takes out the backslashes that continue a line of a command where YAML has joined the lines already.

In a plain or folded text, `train.py \\` and `--lr 1` below it are one line for YAML, with the backslash before a
space: split as a shell would, that is a word which begins with a space.
"""

from __future__ import annotations

import re

_IN_FILE = re.compile(r"\\(?:[ \t]*(?P<end>\r?\n)|.|$)")
_IN_TEXT = re.compile(r"\\(?:.|\n|$)")


def without_continuations(written: str, text: str) -> str:
    """The text, of the same length, with spaces for the backslashes that stand at a line's end in the file.

    `written` is how the text stands there. In double quotes a backslash is YAML's own, and a literal text keeps its
    lines; both are left as they are.
    """
    if "\\" not in text or written.startswith(('"', "|")):
        return text
    in_file, in_text = list(_IN_FILE.finditer(written)), list(_IN_TEXT.finditer(text))
    if len(in_file) != len(in_text):
        return text
    characters = list(text)
    for there, here in zip(in_file, in_text, strict=True):
        if there["end"] and here[0] == "\\ ":
            characters[here.start()] = " "
    return "".join(characters)
