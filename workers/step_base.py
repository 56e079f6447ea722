"""The Python and environment that a step starts from: the worker's, or in the embedded service its submitter's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.context import WorkerContext

_UNKNOWN = "the environment of whoever submitted this is not known any more: the service's own was used"


@dataclass(frozen=True, slots=True)
class Base:
    """`variables` is a whole environment, before what the step itself sets; `notes` go into the attempt's record."""

    python: Path
    variables: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()


def base_of(worker: WorkerContext, sweep: str) -> Base:
    """Read anew for each attempt: a retry from another environment brings its own."""
    if worker.environments is None:
        return Base(worker.python, worker.environment)
    submitted = worker.environments.read(sweep)
    if submitted is None:
        return Base(worker.python, worker.environment, (_UNKNOWN,))
    return Base(submitted.python, submitted.variables)
