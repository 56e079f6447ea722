"""Every error this project raises, as one tree.

    PipelineQueueError                 something a caller may want to catch
    ├── InputError                     the request is wrong; nothing was enqueued or written   (exit 2)
    │   ├── PipelineFileError          the YAML, with every problem and its place
    │   ├── ValuesError                the parameter values, with every problem and its place
    │   ├── SnapshotError              the pipeline's folder cannot be snapshotted
    │   ├── SettingsError              a setting is missing or makes no sense
    │   └── NotFoundError              no such sweep, run or step
    ├── UnreachableError               a service is not there                                   (exit 3)
    │   ├── BrokerError                Redis
    │   └── StorageError               the shared storage
    │       └── StorageAwayError       … which fails for now, or is not mounted: nothing is lost, and it may come back
    ├── RunFailedError                 a run ended as failed or cancelled                       (exit 1)
    ├── StepFailedError                a step of a run failed (what Flower shows)               (exit 1)
    ├── MessageError                   a message of the broker is not one of ours               (exit 1)
    └── SupervisorError                a worker's supervisor process is gone                    (exit 1)

Constructor arguments are `args`, so every error survives pickling and serializers unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a problem is: a file with line and column (both from 1), or a command-line argument."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        if self.line is None:
            return self.source
        return f"{self.source}:{self.line}:{self.column or 1}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and what to do next."""

    place: Place
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class PipelineQueueError(Exception):
    """The base of the tree; `exit_code` is what the command line exits with."""

    exit_code = 1


class InputError(PipelineQueueError):
    """The request is wrong; nothing was enqueued and nothing was written."""

    exit_code = 2


class _ProblemsError(InputError):
    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class PipelineFileError(_ProblemsError):
    """The pipeline file is wrong; `problems` holds all of it."""


class ValuesError(_ProblemsError):
    """The parameter values are wrong; `problems` holds all of it."""


class SnapshotError(InputError):
    """The pipeline's folder cannot be snapshotted."""


class SettingsError(InputError):
    """A setting is missing or makes no sense."""


class NotFoundError(InputError):
    """No such sweep, run or step."""


class UnreachableError(PipelineQueueError):
    """A service this needs is not there."""

    exit_code = 3


class BrokerError(UnreachableError):
    """The Redis server cannot be reached or refuses."""


class StorageError(UnreachableError):
    """The shared storage cannot be read or written."""


class StorageAwayError(StorageError):
    """The shared storage fails as a whole, or is not mounted: what was asked for can be done when it is back."""


class RunFailedError(PipelineQueueError):
    """A run ended as failed or cancelled."""


class StepFailedError(PipelineQueueError):
    """A step failed; the text is the reason a user reads."""


class MessageError(PipelineQueueError):
    """A message from the broker is not one of ours, or of another version."""


class SupervisorError(PipelineQueueError):
    """The supervisor process of a worker is gone; its steps were ended with it."""
