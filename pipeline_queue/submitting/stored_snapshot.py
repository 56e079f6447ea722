"""A snapshot that the storage has already, for runs that start without the pipeline's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_queue.contract.errors import InputError
from pipeline_queue.loading.document import parse_document
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.nodes import Mapping as MappingNode
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.storage.run_store import RunStore

_NO_FOLDER = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """Used like a `Snapshot` that was just packed. `sources`: step -> digest of what it sees, as a record has them."""

    digest: str
    sources: Mapping[str, str] = field(default_factory=dict)

    def store(self, storage: RunStore) -> None:
        """Marks it as in use, so that nobody removes it. Raises InputError when it is gone."""
        if not storage.keep_snapshot(self.digest):
            raise InputError("the pipeline's snapshot was removed from the storage; submit its pipeline file instead")

    def size_note(self) -> str:
        return ""

    def __enter__(self) -> StoredSnapshot:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def loaded_from(pipeline: Pipeline, source: str, text: str) -> LoadedPipeline:
    """A pipeline that was checked when it was accepted, and the text of its file with its `sweep:`."""
    document = parse_document(source or "pipeline.yaml", text.encode())
    body = document.root.get("pipeline") if isinstance(document.root, MappingNode) else None
    sweep = body.get("sweep") if isinstance(body, MappingNode) else None
    sweep_node = sweep if isinstance(sweep, MappingNode) else None
    return LoadedPipeline(Path(source or "pipeline.yaml"), _NO_FOLDER, pipeline, {}, document, sweep_node)
