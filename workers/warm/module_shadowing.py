"""Whether a step's own folder holds a module that a warm process has loaded from somewhere else."""

from __future__ import annotations

import importlib.machinery
import os
from collections.abc import Collection

_ENDINGS = tuple(importlib.machinery.all_suffixes())


def shadowing(script: str, names: Collection[str]) -> str | None:
    """The file or package beside the script that would be imported under one of these names, or None."""
    folder = os.path.dirname(os.path.realpath(script))  # noqa: PTH120
    with os.scandir(folder) as entries:
        for entry in entries:
            if _module_name(entry) in names:
                return entry.name
    return None


def _module_name(entry: os.DirEntry[str]) -> str | None:
    for ending in _ENDINGS:
        if entry.name.endswith(ending):
            return entry.name.removesuffix(ending)
    # A folder without this is a namespace package, which never hides a real one.
    initials = (f"__init__{ending}" for ending in _ENDINGS)
    if "." not in entry.name and any(os.path.lexists(f"{entry.path}/{initial}") for initial in initials):
        return entry.name
    return None
