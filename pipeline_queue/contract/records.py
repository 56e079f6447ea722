"""The files of the shared storage that are records, each with its version.

`sweep.json` is the commit point of a submission, `step.json` the manifest of one attempt, `run.json` the
end of a run. Paths inside a record are relative to its own folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from pipeline_queue.contract.metric_spans import MetricSpan
from pipeline_queue.contract.states import FailureGroup, RunState, StepState

Scalar = bool | int | float | str

Cause = Literal[
    "exit_code",
    "signal",
    "timeout",
    "memory",
    "missing_outputs",
    "not_started",
    "cancelled",
    "lost",
    "storage",
]


SweepEndState = Literal["succeeded", "failed", "cancelled", "stopped"]


class Record(BaseModel):
    """Unknown keys are kept out but tolerated: a newer writer of the same version may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1


class _Omitting(BaseModel):
    """Fields that came later are not written where they say nothing, so that what version 1 writes stays as it was."""

    LATER: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_empty(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = write(self)
        for name in self.LATER:
            if not data.get(name):
                data.pop(name, None)
        return data


class SweepRecord(Record):
    """`sweep.json`: all a worker needs to know of an accepted submission."""

    id: str
    pipeline: dict[str, Any]
    snapshot: str = Field(pattern=r"\A[0-9a-f]{64}\z")  # a part of paths
    sources: dict[str, str] = {}
    """Step -> digest of what it sees of the snapshot, for steps that do not see all of it."""
    space: dict[str, Any]
    total: int
    created_at: float
    submitted_by: str = ""
    source: str = ""
    name: str = ""
    settings: dict[str, Any] = {}


class SweepEnd(_Omitting, Record):
    """`end.json`: how a sweep of several runs ended. `counts`: runs by state. Times are Unix seconds.

    `done_before`: how many runs had ended at `created_at`, of a sweep that was retried. `failures`: by cause, the most
    frequent first.
    """

    LATER: ClassVar[tuple[str, ...]] = ("failures", "metrics")

    sweep: str
    state: SweepEndState
    total: int
    counts: dict[str, int]
    created_at: float
    ended_at: float
    done_before: int = 0
    failures: tuple[FailureGroup, ...] = ()
    metrics: dict[str, MetricSpan] = {}
    """Of its succeeded runs."""


class RetryRecord(Record):
    """`retry.json`: first and last index of the runs that are done again."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, indexes: Iterable[int]) -> RetryRecord:
        """Of indexes in any order."""
        ranges: list[tuple[int, int]] = []
        for index in sorted(indexes):
            if ranges and index == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], index)
            else:
                ranges.append((index, index))
        return cls(ranges=tuple(ranges))

    def indexes(self) -> frozenset[int]:
        return frozenset(index for first, last in self.ranges for index in range(first, last + 1))


class OutputFile(_Omitting):
    """One published file; `size` in bytes, None for a symbolic link; `sha256` of smaller ones only."""

    model_config = ConfigDict(frozen=True)
    LATER: ClassVar[tuple[str, ...]] = ("sha256",)

    path: str
    size: int | None
    sha256: str | None = None


class StepRecord(_Omitting, Record):
    """`step.json`: what one attempt did. `seconds` is the process's time; times are Unix seconds."""

    LATER: ClassVar[tuple[str, ...]] = ("kept", "silent", "is_handed_on", "threads")

    run: str
    step: str
    attempt: int
    uid: str
    state: StepState
    cause: Cause | None = None
    message: str = ""
    argv: tuple[str, ...] = ()
    worker: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    seconds: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    outputs: tuple[OutputFile, ...] = ()
    deleted: tuple[str, ...] = ()
    metrics: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    kept: tuple[OutputFile, ...] = ()
    """What a failed attempt left, in the folder `kept` beside its log."""
    silent: bool = False
    """It printed nothing, so there is no log."""
    is_handed_on: bool = False
    """It counts for nothing: another worker was to say whether the step or this machine failed."""
    threads: int = 0
    """How many threads the worker bounded its numeric libraries to; 0 if it left them alone."""


class StepSummary(_Omitting):
    """One step in a report of a run; `outputs`, `log` and `kept` (what a failed attempt left) are paths or None."""

    model_config = ConfigDict(frozen=True)
    LATER: ClassVar[tuple[str, ...]] = ("kept", "notes")

    name: str
    state: StepState
    attempts: int = 0
    exit_code: int | None = None
    seconds: float | None = None
    outputs: str | None = None
    log: str | None = None
    message: str = ""
    kept: str | None = None
    notes: tuple[str, ...] = ()


class RunRecord(Record):
    """`run.json`: how a run ended. Times are Unix seconds."""

    sweep: str
    run: str
    index: int
    state: RunState
    parameters: dict[str, Scalar]
    steps: tuple[StepSummary, ...]
    metrics: dict[str, float] = {}
    message: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None


class PublishedPipeline(Record):
    """`pipelines/<name>.json`: a pipeline that runs can be started of without its folder. `text`: its file."""

    name: str
    pipeline: dict[str, Any]
    snapshot: str = Field(pattern=r"\A[0-9a-f]{64}\z")
    sources: dict[str, str] = {}
    source: str = ""
    text: str = ""
    published_at: float
    published_by: str = ""


class ActionRecord(Record):
    """A line of `actions/<month>.jsonl`: what somebody did to a sweep through the dashboard. `at`: Unix seconds.

    `run` is empty for an action on the whole sweep; `detail` says what came of it.
    """

    at: float
    who: str
    action: str
    sweep: str
    run: str = ""
    detail: str = ""
