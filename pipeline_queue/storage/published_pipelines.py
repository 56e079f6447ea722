"""Writes and reads the pipelines that people have published under a name, each one file."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline_queue.contract.errors import InputError, NotFoundError, StorageError
from pipeline_queue.contract.records import PublishedPipeline
from pipeline_queue.storage.access import describe_failed, inherit_access, make_folder
from pipeline_queue.storage.atomic import replace_file
from pipeline_queue.storage.files import names_in
from pipeline_queue.storage.layout import PIPELINES
from pipeline_queue.storage.reading import read_record

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


def write_pipeline(root: Path, record: PublishedPipeline) -> None:
    """Publishes the pipeline, or replaces the one of this name. Raises InputError for a wrong name, StorageError."""
    if not _NAME.fullmatch(record.name):
        raise InputError(
            f"'{record.name[:100]}' cannot be the name of a pipeline; use letters, digits, _ and -, at most 64"
        )
    path = root / PIPELINES / f"{record.name}.json"
    try:
        make_folder(path.parent, exist_ok=True)
        replace_file(path, record.model_dump_json().encode())
    except OSError as error:
        raise StorageError(describe_failed(path, error)) from error
    inherit_access(path)


def read_pipeline(root: Path, name: str) -> PublishedPipeline:
    """Raises NotFoundError when there is none of this name, StorageError."""
    found = read_record(PublishedPipeline, root / PIPELINES / f"{name}.json") if _NAME.fullmatch(name) else None
    if found is None:
        known = ", ".join(pipeline_names(root)[:20]) or "none"
        raise NotFoundError(f"no pipeline is published as '{name[:100]}'; published: {known}")
    return found


def pipeline_names(root: Path) -> list[str]:
    """The names of all published pipelines, sorted. Raises OSError."""
    names = (name.removesuffix(".json") for name in names_in(root / PIPELINES) if name.endswith(".json"))
    return sorted(name for name in names if _NAME.fullmatch(name))
