"""The interface of the store for sweeps, runs and steps. All shared data goes through it; `storage.py` implements it.

There are four types: the store itself (sweeps, snapshots, shared steps), one run of a sweep, one published step, and
the slot that one attempt writes to. Only the package `storage` knows that the store consists of files. It gives other
code addresses, through the `where…` methods, for people and for `addresses.py`.

An implementation guarantees (`tests/integration/test_run_store.py` tests it):

- Once `commit_sweep` has returned True, the sweep exists, complete and durable. It does so for one submitter only.
- Exactly one attempt publishes a step, and as a whole, however many attempts try and however late.
- An attempt that was fenced off publishes nothing and ends nothing.
- A process that is killed between any two operations leaves nothing half-visible, and another process that repeats
  its operations succeeds.
- Records are written and replaced as a whole: a reader never sees half of one.

**The commit of a step is one conditional write.** An attempt writes everything (log, outputs, manifest) under a name of
its own, which no reader of the step opens. `AttemptSlot.publish` then makes it the step if, and only if, no attempt has
published the step yet and the slot was not fenced off. On a file system, `publish` renames a folder to a name that must
not exist, and `fence_off` moves the folder away. On an object store, each run would have one object that lists its
fences, published steps and end, `publish` would be one PUT with `If-Match` to it, and readers would find an attempt's
files through it. So `publish`, `fence_off`, `write_end` (also `within` a slot) and `commit_sweep` must each stay one
conditional write. A publication is valid without the operations that follow it (the link of a shared step, the run's
end); any process that finds them missing repeats them.

Errors: OSError for a permanent error, StorageError for damaged data, a rejected request or a failure that lasts longer
than the caller's patience (`patience.py`), StorageAwayError for a store that is unreachable at the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from io import BufferedReader
from pathlib import Path
from typing import IO, Protocol, TypeVar

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import (
    ActionRecord,
    OutputFile,
    PublishedPipeline,
    RunRecord,
    StepRecord,
    SweepEnd,
    SweepRecord,
)
from pipeline_queue.storage.disk import Room
from pipeline_queue.storage.file_tree import FileStamp

_T = TypeVar("_T")


class TooLargeError(Exception):
    """A file is larger than the storage allows (EFBIG)."""

    def __init__(self, path: str, size_bytes: int | None) -> None:
        super().__init__(path, size_bytes)
        self.path = path
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return f"{self.path} is larger than the storage takes"


@dataclass(frozen=True, slots=True)
class KeptTotal:
    """The number and size of the failed attempts whose files a store keeps."""

    attempts: int
    size_bytes: int


class StoredStep(Protocol):
    """The place where a step of one run, or one shared by several, is published. After that, it never changes."""

    def where(self, name: str = "") -> str:
        """For people: where the step is, or its output `name`."""

    def is_published(self) -> bool: ...

    def record(self) -> StepRecord | None:
        """The manifest, None before the step is published. Raises StorageError when it is damaged."""

    def published_record(self) -> StepRecord:
        """The manifest of a step that is known to be published. Waits while this machine does not see it yet.

        Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear.
        """

    def fetch(self, name: str, target: Path) -> FileStamp | None:
        """Copies a file, link or folder (without its content) of the outputs to `target`. Returns the copy's stamp."""


class AttemptSlot(Protocol):
    """The place that one attempt writes to; no reader of the step sees it before `publish`."""

    @property
    def name(self) -> str:
        """The attempt's name in the run's `names`."""

    def where(self) -> str:
        """For people: where the attempt's files are."""

    def make(self) -> None:
        """Creates the slot; safe to repeat. Raises StorageAwayError where the sweep is not visible."""

    def log_sink(self) -> str:
        """The path of a file on this machine; the supervisor appends what the step prints to it."""

    def append_to_log(self, data: bytes) -> None: ...

    def log_end(self, size_bytes: int) -> bytes:
        """The last bytes of the log, at most `size_bytes`."""

    def drop_log(self) -> None:
        """Removes the log of a step that printed nothing."""

    def put_outputs(self, workspace: Path, files: Iterable[OutputFile]) -> None:
        """Moves files of a working directory to the outputs; safe to repeat after an error. Raises TooLargeError."""

    def put_kept(self, workspace: Path, files: Iterable[OutputFile]) -> None:
        """Like `put_outputs`, for the files that are kept of a failed attempt."""

    def drop_outputs(self) -> None:
        """Removes the outputs. Never raises."""

    def drop_kept(self) -> None:
        """Removes the kept files. Never raises."""

    def share_access(self) -> None:
        """Lets the users who share the store read the files of this attempt. Never raises."""

    def write_record(self, record: StepRecord) -> None:
        """Writes the manifest, or replaces it as a whole."""

    def publish(self, target: StoredStep) -> bool:
        """Publishes this attempt as the step; False when another attempt was first. The step's one conditional write.

        Safe to repeat: the attempt that was first gets True again. Raises OSError once the slot was fenced off.
        """

    def discard(self) -> None:
        """Removes everything in the slot. Never raises."""


class StoredRun(Protocol):
    """One run of a sweep, perhaps one that has not started."""

    def where(self, name: str = "") -> str:
        """For people: where the run is, or its entry `name`."""

    def names(self) -> frozenset[str]:
        """The names of the run's entries, read at once: published steps, attempts, `run.json` once it has ended
        (`run.json.<n>`: its ends before retries), `cancel.requested`."""

    def step(self, step: str) -> StoredStep: ...

    def begin_attempt(self, step: str, attempt: int, uid: str) -> AttemptSlot:
        """The slot that one attempt writes to; this call writes nothing yet."""

    def attempt_record(self, name: str) -> StepRecord | None:
        """How the attempt of that name ended, None before its end."""

    def read_visible(self, action: Callable[[], _T]) -> _T:
        """The result of the action, which reads entries of the run. Waits while they are not visible yet.

        Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear.
        """

    def link(self, step: str, shared: StoredStep) -> None:
        """Links a shared step of the same store into the run; does nothing when it is linked."""

    def fence_off(self, step: str, attempt: int) -> None:
        """Keeps every unfinished attempt at the step up to that number from publishing or ending anything."""

    def drop_kept(self, attempt: str) -> None:
        """Removes the kept files of the attempt of that name. Never raises."""

    def end(self) -> RunRecord | None:
        """How the run ended, None before its end."""

    def former_end(self, names: frozenset[str]) -> RunRecord | None:
        """How the run ended before its last retry, None when it was never retried."""

    def write_end(self, record: RunRecord, within: AttemptSlot | None = None) -> bool:
        """Ends the run unless it has ended. Returns whether this call ended it. With `within`, raises OSError once that
        slot was fenced off."""

    def request_cancel(self) -> None:
        """Records a request to cancel the run."""

    def reopen(self) -> None:
        """Reopens an ended run, and keeps the record of its former end. Raises StorageError."""


class RunStore(Protocol):
    """All sweeps of one installation."""

    # Identity and health.

    def where(self) -> str:
        """For people: where the store is."""

    def token(self) -> str:
        """The text that identifies this store on every machine. Raises StorageError when there is none."""

    def check(self, expected: str) -> None:
        """Raises StorageError unless the store has this token."""

    def check_access(self, most_sweeps: int = 0) -> None:
        """Raises StorageError when this user may not write where every submission and run must, or to one of the newest
        `most_sweeps` sweeps."""

    def room(self) -> Room:
        """The space that is free for this user."""

    def try_to_write(self) -> None:
        """Writes a test file, reads it and removes it. Raises OSError."""

    # Sweeps.

    def commit_sweep(self, record: SweepRecord, pipeline_text: bytes, may_exist: bool = False) -> bool:
        """Makes the submission exist, complete and durable; False when its name is taken.

        `may_exist`: an earlier submitter with the same name may have been stopped before the commit point.
        """

    def has_sweep(self, sweep: str) -> bool: ...

    def where_sweep(self, sweep: str) -> str:
        """For people: where the sweep's record is."""

    def read_sweep(self, sweep: str) -> SweepRecord:
        """Raises NotFoundError when there is no such sweep."""

    def sweep_bytes(self, sweep: str) -> int:
        """The size of the sweep's record, 0 when it does not exist any more."""

    def sweeps(self) -> Iterator[str]:
        """The names of all sweeps, newest first. Some submitters may have been stopped before the commit."""

    def sweep_end(self, sweep: str) -> SweepEnd | None:
        """How the sweep ended. None before its end, and for a sweep of a single run."""

    def end_sweep(self, end: SweepEnd) -> None: ...

    def reopen_sweep(self, sweep: str) -> None:
        """Reopens an ended, cancelled or paused sweep, so that it goes on."""

    def retry_choice(self, sweep: str) -> frozenset[int] | None:
        """The indexes of an ended sweep's runs that are retried; None: all that did not succeed."""

    def choose_retry(self, sweep: str, indexes: Iterable[int] | None) -> None: ...

    def request_cancel(self, sweep: str) -> None:
        """Records a request to cancel the sweep."""

    def is_cancelled(self, sweep: str) -> bool: ...

    def set_paused(self, sweep: str, paused: bool) -> None:
        """Records whether the sweep is paused: then no more of its runs start."""

    def is_paused(self, sweep: str) -> bool: ...

    def delete_sweep(self, record: SweepRecord) -> None:
        """Hides the sweep at once, then removes it, and its snapshot if no other sweep names that."""

    # Runs and steps.

    def run(self, run: RunId, label: Mapping[str, str], total: int = 1) -> StoredRun:
        """`label`: the text that people read beside the index; `total`: the number of the sweep's runs."""

    def runs(self, sweep: str) -> Iterator[tuple[int, StoredRun]]:
        """Yields every run of the sweep that has written anything, with its index, unordered."""

    def run_ends(self, sweep: str) -> Iterator[tuple[str, bytes]]:
        """Yields the address and content of every ended run's end record, unordered. Raises NotFoundError."""

    def shared_step(self, sweep: str, shared: str) -> StoredStep:
        """A step that several runs of the sweep share."""

    def shared_steps(self, sweep: str) -> frozenset[str]:
        """The names of the sweep's shared steps that are published."""

    def reused_step(self, shared: str) -> StoredStep:
        """A step that runs of all sweeps may share."""

    # Snapshots.

    def put_snapshot(self, digest: str, tar: IO[bytes]) -> None:
        """Stores a packed folder under its digest unless it is there already."""

    def read_snapshot(self, digest: str, action: Callable[[BufferedReader], _T]) -> _T:
        """The result of the action, which reads the tar. Temporary errors restart the action at the tar's beginning.
        Raises FileNotFoundError when there is no such snapshot."""

    def keep_snapshot(self, digest: str) -> bool:
        """Marks the snapshot as in use, so that nobody removes it for an hour; False when there is none."""

    def pipeline_text(self, record: SweepRecord) -> bytes:
        """The pipeline file as it was submitted, empty when it is gone. Raises OSError."""

    def where_snapshot(self, digest: str) -> str:
        """For people: where the snapshot is."""

    # Published pipelines.

    def publish_pipeline(self, record: PublishedPipeline) -> None:
        """Publishes it, or replaces the one of this name. Raises InputError for a wrong name, StorageError."""

    def published_pipeline(self, name: str) -> PublishedPipeline:
        """Raises NotFoundError when there is none of this name, StorageError."""

    def published_pipelines(self) -> list[str]:
        """The names of all published pipelines, sorted. Raises OSError."""

    # What people did through the dashboard.

    def note_action(self, record: ActionRecord) -> None:
        """Adds a line to the record of actions. Raises OSError."""

    def actions_on(self, sweep: str) -> list[ActionRecord]:
        """The actions on the sweep, oldest first. Raises OSError."""

    # Removal of unused data.

    def remove_reused(self, older_than_seconds: float) -> tuple[int, int]:
        """Removes the steps published for all sweeps that no run links to. Returns how many it removed and how many
        stay."""

    def note_kept(self, attempt: AttemptSlot, day: date, size_bytes: int | None = None) -> None:
        """Records that an attempt has kept files, so that they are found and removed when they are old or too many."""

    def remove_kept(self, before: date) -> int:
        """Removes the files kept before that day. Returns the number of attempts they belonged to."""

    def remove_kept_above(self, limit_bytes: int) -> int:
        """Removes the oldest kept files until the rest is within the limits. Returns the number of attempts."""

    def kept_total(self) -> KeptTotal:
        """The number and size of the kept files now."""
