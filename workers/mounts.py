"""What is mounted where, as this process sees it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

_ESCAPED = re.compile(r"\\([0-7]{3})")


def read_mounts() -> list[tuple[str, str]]:
    """Mount points with the types of their file systems, in the order of mounting. Raises OSError."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return parse_mounts(text)


def parse_mounts(text: str) -> list[tuple[str, str]]:
    """Of the text of a mountinfo. The kernel escapes space, tab, newline and backslash; any other character of a mount
    point stands there as it is, so only those separate. Raises OSError for what cannot be read.
    """
    lines = (line.partition(" - ") for line in text.split("\n") if line)
    try:
        return [(_unescaped(before.split(" ")[4]), after.split(" ")[0]) for before, _, after in lines]
    except IndexError as error:
        raise OSError(errno.EINVAL, "the list of mounts cannot be read") from error


def file_system_of(folder: Path) -> str:
    """The type of the file system on which the folder lies. Raises OSError."""
    real = os.path.realpath(folder)
    best, kind = -1, ""
    for point, type_ in read_mounts():
        if _is_within(real, point) and len(point) >= best:  # of two on one point, the later one is seen
            best, kind = len(point), type_
    return kind


def holds_mount(folder: Path) -> bool:
    """Whether something is mounted in or on the folder. Raises OSError."""
    real = os.path.realpath(folder)
    return any(_is_within(point, real) for point, _ in read_mounts())


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
