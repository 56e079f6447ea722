"""Decodes the fields of a run's hash into a value: the run and its steps as the index knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_queue.contract.states import RunState, StepState

REMEMBER_ENDED_SECONDS = 300
"""How long the hash of a run that has ended is kept."""


@dataclass(frozen=True, slots=True)
class LiveStep:
    """One step as the index knows it."""

    state: StepState
    attempts: int
    seconds: float | None
    exit_code: int | None
    message: str
    worker: str
    started_at: float | None


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One run as the index knows it; times are Unix seconds by Redis' clock."""

    state: RunState
    cancelling: bool
    created_at: float | None
    started_at: float | None
    ended_at: float | None
    steps: dict[str, LiveStep]


def live_run(fields: Mapping[str, str]) -> LiveRun:
    names = [name.removesuffix("|state") for name in fields if name.endswith("|state")]
    return LiveRun(
        state=fields["state"],  # type: ignore[arg-type]
        cancelling="cancel" in fields,
        created_at=_seconds(fields.get("created")),
        started_at=_seconds(fields.get("started")),
        ended_at=_seconds(fields.get("ended")),
        steps={name: _live_step(name, fields) for name in names},
    )


def _live_step(name: str, fields: Mapping[str, str]) -> LiveStep:
    seconds, exit_code = fields.get(f"{name}|seconds"), fields.get(f"{name}|exit")
    return LiveStep(
        state=fields[f"{name}|state"],  # type: ignore[arg-type]
        attempts=int(fields.get(f"{name}|attempts", 0)),
        seconds=float(seconds) if seconds else None,
        exit_code=int(exit_code) if exit_code else None,
        message=fields.get(f"{name}|message", ""),
        worker=fields.get(f"{name}|worker", ""),
        started_at=_seconds(fields.get(f"{name}|started")),
    )


def _seconds(milliseconds: str | None) -> float | None:
    return float(milliseconds) / 1000 if milliseconds else None
