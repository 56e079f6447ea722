"""Reads a script's source: bytes to a syntax tree, with every problem at its place."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.errors import PipelineFileError, Place, Problem

MAX_SCRIPT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Script:
    """A script's path as it was given, and its tree."""

    path: Path
    tree: ast.Module


def read_script(path: Path) -> Script:
    """Raises PipelineFileError when the file cannot be read or is not Python."""
    try:
        if path.is_dir():
            raise _error(path, "this is a folder, not a script", "name the script: pipeline-queue init FOLDER/train.py")
        with path.open("rb") as file:
            data = file.read(MAX_SCRIPT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _error(path, f"the script cannot be read: {reason}", "name a Python script") from error
    if len(data) > MAX_SCRIPT_BYTES:
        raise _error(path, f"the script has more than {MAX_SCRIPT_BYTES:,} bytes", "name the script that you start")
    return Script(path, _parse(path, _decode(path, data)))


def _decode(path: Path, data: bytes) -> str:
    """The text, by the encoding that the script declares as Python reads it."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line, column = _line_and_column(data, error.start)
        message = f"byte 0x{data[error.start]:02x} is not {error.encoding} text"
        raise _error(path, message, "save the script as UTF-8", line, column) from error
    except (SyntaxError, LookupError) as error:
        at = _first_undecodable(data)
        if at is not None:
            message, hint = f"byte 0x{data[at]:02x} is not UTF-8 text", "save the script as UTF-8"
            raise _error(path, message, hint, *_line_and_column(data, at)) from error
        raise _error(path, f"the script's encoding is unknown: {error}", "save the script as UTF-8", 1, 1) from error
    at = text.find("\0")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise _error(
            path, "the script contains a NUL character", "name a Python script", line, at - text.rfind("\n", 0, at)
        )
    return text


def _parse(path: Path, text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in the script is not ours to tell
            return ast.parse(text)
    except SyntaxError as error:
        message = f"the script is not valid Python: {error.msg}"
        raise _error(path, message, "fix it first", error.lineno or 1, error.offset or 1) from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise _error(path, "the script is nested too deeply to be read", "write the pipeline file by hand") from error


def _first_undecodable(data: bytes) -> int | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _line_and_column(data: bytes, offset: int) -> tuple[int, int]:
    return data.count(b"\n", 0, offset) + 1, offset - data.rfind(b"\n", 0, offset)


def _error(path: Path, message: str, hint: str, line: int | None = None, column: int = 1) -> PipelineFileError:
    place = Place(str(path)) if line is None else Place(str(path), line, column)
    return PipelineFileError((Problem(place, message, hint),))
