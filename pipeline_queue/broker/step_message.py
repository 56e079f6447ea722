"""What crosses the broker for one step of one run, and its version.

A Celery task of ours carries the envelope as its one positional argument and the run's parameters as flat
keyword arguments, so that Flower's own search finds `kwargs:learning_rate=0.01`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline_queue.contract.errors import MessageError, NotFoundError
from pipeline_queue.contract.ids import RunId

TASK_NAME = "pipeline_queue.step"
VERSION = 1
SIGNATURE = "sig"
"""The field of a signed envelope that holds its signature (signing.py)."""

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class StepMessage:
    """One step of one run, with the run's parameters."""

    run: RunId
    step: str
    parameters: dict[str, Scalar]

    def envelope(self) -> dict[str, Any]:
        """`{"v": 1, "run": "<sweep>.<index>", "step": "<name>"}`"""
        return {"v": VERSION, "run": str(self.run), "step": self.step}


def decode(envelope: object, parameters: dict[str, Any]) -> StepMessage:
    """Raises MessageError for anything this version did not write."""
    if not isinstance(envelope, dict):
        raise MessageError(f"the envelope is not a mapping but {type(envelope).__name__}")
    version = envelope.get("v")
    if type(version) is not int or version != VERSION:
        shown = str(version)[:20] if isinstance(version, str | int | float) else type(version).__name__
        raise MessageError(f"version {shown} of the envelope is not {VERSION}")
    run, step = envelope.get("run"), envelope.get("step")
    if not isinstance(run, str) or not isinstance(step, str):
        raise MessageError("the envelope names no run and step")
    for name, value in parameters.items():
        if not isinstance(value, Scalar):
            raise MessageError(f"parameter '{name[:64]}' is not a single value but {type(value).__name__}")
    try:
        return StepMessage(RunId.parse(run), step, parameters)
    except NotFoundError as error:
        raise MessageError(str(error)) from None
