"""Finds paths in a step's texts that lead out of the snapshot: to the live project, or beside the pipeline's folder.

A step runs in a copy of the pipeline's folder. An absolute path into that folder reads and writes the project as it is
at that moment; `../data` leads to nothing.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from pipeline_queue.model.problems import quoted
from pipeline_queue.storage.snapshot import IGNORE_FILE, is_left_out

_MAX_CHARACTERS = 1_024
_UPWARDS = re.compile(r"(?:\./)?\.\./")


def find_project_path(text: str, folder: Path) -> tuple[str, str] | None:
    """A message and a hint for a word or a value; in `--data=a:b`, `a` and `b` are looked at."""
    if len(text) > _MAX_CHARACTERS or "\0" in text:
        return None
    for path in filter(None, [*text.split(":"), *text.partition("=")[2].split(":")]):
        if (inside := path_inside(path, folder)) and not is_left_out(folder, inside):
            message = f"{quoted(path)} leads into the live project, which may change, not into the step's copy"
            return (
                message,
                f"write {inside}, relative to the pipeline's folder; if this is intended, name it in {IGNORE_FILE}",
            )
        if _UPWARDS.match(path) and _leads_out(path, folder):
            message = f"{quoted(path)} is outside the pipeline's folder, and only that folder is copied for a step"
            return message, "copy it there, name it below `links:` if it is a folder of data, or give an absolute path"
    return None


def find_project_path_in_script(script: str, folder: Path) -> tuple[int, str, str] | None:
    """The offset of the first absolute path into the pipeline's folder, a message and a hint."""
    if folder == Path("/"):
        return None
    found = re.search(rf"(?<![\w./-]){re.escape(str(folder))}(?:/[\w./-]{{0,200}})?(?![\w.-])", script)
    finding = find_project_path(found[0], folder) if found else None
    return (found.start(), *finding) if found and finding else None


def path_inside(path: str, folder: Path) -> str:
    """The path from the folder for an absolute one into it; empty for every other."""
    if not path.startswith("/") or folder == Path("/"):
        return ""
    normal = posixpath.normpath(path)
    for root in {str(folder), os.path.realpath(folder)}:
        if normal == root:
            return "."
        if normal.startswith(f"{root}/"):
            return normal.removeprefix(f"{root}/")
    return ""


def _leads_out(path: str, folder: Path) -> bool:
    """Whether there is something at a path that begins upwards and stays outside of the folder."""
    there = posixpath.normpath(posixpath.join(str(folder), path))
    if there == str(folder) or there.startswith(f"{folder}/"):
        return False
    try:
        return os.path.lexists(there)
    except (OSError, ValueError):
        return False
