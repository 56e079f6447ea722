"""Values of a sweep in the index: what opens it, what it allots, and the decoded fields of its hash."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import MetricSpan
from pipeline_queue.contract.states import SHARED_FAILURE, FailureGroup
from pipeline_queue.index import decoding

SweepState = Literal["running", "paused", "stopped", "cancelled"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A sweep's initial values; the counts are not 0 when it is restored from the storage."""

    sweep: str
    total: int
    max_parallel: int | None = None
    max_failures: int | None = None
    state: SweepState = "running"
    cursor: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class Allotment:
    """Runs taken into a sweep's window: those that may have begun before, and new ones."""

    again: tuple[RunId, ...]
    fresh: tuple[RunId, ...]


@dataclass(frozen=True, slots=True)
class LiveSweep:
    """A sweep as the index knows it; times are Unix seconds by Redis' clock, `now` the moment of reading.

    `done_before`: how many runs had succeeded or failed when it was opened, at `created_at`.
    """

    state: SweepState
    total: int
    cursor: int
    unstarted: int
    flight: int
    reopened: int
    succeeded: int
    failed: int
    cancelled: int
    created_at: float
    ended_at: float | None
    now: float
    causes: tuple[FailureGroup, ...]
    done_before: int = 0
    executing: int = 0
    """How many of its steps a worker has a lease for."""
    held: int = 0
    """How many of its runs wait for it to be resumed."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Shared step -> how many runs wait for another's execution of it."""
    max_parallel: int | None = None
    took_seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Step -> how long its most recently published attempts held their slots, newest first."""
    metrics: Mapping[str, MetricSpan] = field(default_factory=dict)
    """Metrics of its succeeded runs, in the order in which they first occurred."""
    measured: int = 0
    """How many succeeded runs `metrics` covers; fewer than have succeeded when the server lost some."""
    unseen_seconds: float | None = None
    """How long ago `untracked` last checked the run in flight that is next; None when none is in flight."""

    @property
    def adds_up(self) -> bool:
        """Whether its counts are consistent; a server that came back with older data may have inconsistent ones.

        Counts may be missing if runs end while the sweep is being restored; this shows once the sweep has ended.
        """
        ended = self.succeeded + self.failed + self.cancelled
        least = min(
            self.succeeded, self.failed, self.cancelled, self.unstarted, self.reopened, self.flight - self.unstarted
        )
        is_whole = self.ended_at is None or self.state in ("cancelled", "stopped") or ended == self.total
        return least >= 0 and ended + self.flight <= self.total and self.cursor <= self.total and is_whole

    @property
    def stands_still(self) -> bool:
        """Whether nothing is left that could end it, because its counts are wrong or belong to another server."""
        if self.ended_at is not None:
            return False
        if self.flight:
            return self.unseen_seconds is None
        return not self.reopened and (self.cursor >= self.total or self.state in ("cancelled", "stopped"))

    @property
    def has_more(self) -> bool:
        """Whether some of its runs have yet to be taken into its window."""
        return self.cursor < self.total or self.reopened > 0


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """Progress of a sweep's runs in flight. `published`: number of first steps published -> number of runs."""

    retrying: int
    published: Mapping[int, int]


def live_sweep(
    fields: Mapping[str, str],
    causes: Mapping[str, str],
    *,
    now: float,
    executing: int,
    held: int,
    waiting: Mapping[str, int],
    longest_since: float | None,
) -> LiveSweep:
    """Decode a sweep. `longest_since`: when the next run in flight was last checked, None when none is in flight.

    The fields must have passed `decoding.check_sweep_hash`.
    """
    return LiveSweep(
        state=fields["state"],  # type: ignore[arg-type]
        total=int(fields["total"]),
        cursor=int(fields["cursor"]),
        unstarted=int(fields["unstarted"]),
        flight=int(fields["flight"]),
        reopened=int(fields.get("redo", 0)),
        succeeded=int(fields["succeeded"]),
        failed=int(fields["failed"]),
        cancelled=int(fields["cancelled"]),
        created_at=int(fields["created"]) / 1000,
        ended_at=int(fields["ended"]) / 1000 if "ended" in fields else None,
        now=now,
        causes=_causes(causes),
        done_before=int(fields.get("before", 0)),
        executing=executing,
        held=held,
        waiting=waiting,
        max_parallel=int(fields["max_parallel"]) if fields.get("max_parallel") else None,
        took_seconds=_took(fields),
        metrics=_metrics(fields),
        measured=int(fields.get("measured", 0)),
        unseen_seconds=None if longest_since is None else now - longest_since,
    )


def _took(fields: Mapping[str, str]) -> dict[str, tuple[float, ...]]:
    names = [name for name in fields if name.startswith("took|")]
    return {
        name.partition("|")[2]: tuple(int(text) / 1000 for text in fields[name].split() if decoding.is_count(text))
        for name in names
    }


def _metrics(fields: Mapping[str, str]) -> dict[str, MetricSpan]:
    known: list[tuple[int, str, MetricSpan]] = []
    for name, text in fields.items():
        place = text.rpartition(" ")[2]
        if name.startswith("metric|") and decoding.is_text(name) and decoding.is_count(place):
            with suppress(ValueError):  # others may have written there
                known.append((int(place), name.partition("|")[2], MetricSpan.from_text(text)))
    return {name: span for _, name, span in sorted(known, key=lambda one: one[0])}


def _causes(fields: Mapping[str, str]) -> tuple[FailureGroup, ...]:
    """Redis counts the shared failures of a cause separately from the executed ones; this merges both."""
    groups: dict[str, FailureGroup] = {}
    for name, count in fields.items():
        if name.startswith("example|") or not decoding.is_count(count) or not decoding.is_text(name):
            continue
        text, mark, _ = name.partition(SHARED_FAILURE)
        known = groups.get(text, FailureGroup(text, 0, ""))
        example = fields.get(f"example|{name}", "") if not mark or not known.example else known.example
        if not decoding.is_text(example):
            continue
        shared = known.shared + (int(count) if mark else 0)
        groups[text] = FailureGroup(text, known.count + int(count), example, shared)
    return tuple(sorted(groups.values(), key=lambda group: (-group.count, group.text)))
