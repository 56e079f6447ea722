"""Finds declared outputs that no file can ever match, for which a step would work for hours and then fail."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from pipeline_queue.loading.placeholders import find_placeholders
from pipeline_queue.model.problems import quoted

_PATTERNS = "patterns may use *, **, ? and [a-z]"
_BRACES = re.compile(r"\{[^{}]{0,200},[^{}]{0,200}\}")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]{0,100}|\{[^{}]{0,200}\}|\()")
_FOLDERS_OF_WINDOWS = re.compile(r"\\[A-Za-z0-9_]")
_SEVERAL = re.compile(r"\.\w{1,20}(?:,|\s)\s{0,20}[^\s,]{1,200}\.\w")


@dataclass(frozen=True, slots=True)
class OutputFinding:
    """With `is_refused` nothing can have this name; without, it is perhaps not what was meant."""

    message: str
    hint: str
    is_refused: bool = True


def find_in_output(text: str, declared: Collection[str]) -> OutputFinding | None:
    """What is wrong with one of the `outputs`, if anything; `declared` are the parameters' names."""
    shown = quoted(text)
    placeholder = next(find_placeholders(text, declared), None)
    if placeholder:
        message = f"{quoted(placeholder.text)} in {shown} is not replaced: outputs cannot contain values"
        return OutputFinding(message, f"write * in its place; {_PATTERNS}")
    if "://" in text or text.startswith("~/"):
        return OutputFinding(f"{shown} cannot be an output", "write the path of a file below the step's own folder")
    if text.startswith("!"):
        return OutputFinding(f"{shown} cannot be an output", "list only files that the step must leave")
    if variable := _VARIABLE.search(text):
        message = f"{quoted(variable[0])} in {shown} is taken literally: nothing expands it"
        return OutputFinding(message, f"write the path below the step's own folder; {_PATTERNS}")
    if _BRACES.search(text):
        return OutputFinding(f"{shown} is not a supported pattern", f"write each path as its own entry; {_PATTERNS}")
    if _FOLDERS_OF_WINDOWS.search(text):
        return OutputFinding(
            f"{shown} contains backslashes, which do not separate folders here", "use / between folders"
        )
    if _SEVERAL.search(text):
        return OutputFinding(f"{shown} is taken as one name", "write several as a list: [first, second]", False)
    return None
