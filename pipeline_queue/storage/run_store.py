"""What keeps sweeps, runs and steps: the one door to the shared storage. `storage.py` implements it on a file system.

A store holds four kinds of things, and each has a type here: the store itself (sweeps, snapshots, what is shared), one
run of a sweep, one published step, and the slot that one attempt writes to. Nothing but the package `storage` knows
that there are files behind it: what leaves it are addresses, by the `where…` methods, for people and `addresses.py`.

What an implementation promises (`tests/integration/test_run_store.py` holds it to that):

- A sweep exists once `commit_sweep` returned True, whole and durable, and for one of several submitters only.
- A step is published once, whole, by one attempt, however many try and however late.
- An attempt that was fenced off publishes nothing and ends nothing.
- A process that is killed between any two operations leaves nothing half-visible, and whoever repeats what it did
  succeeds.
- Records are written and replaced as a whole: a reader never sees half of one.

**The commit of a step is one conditional write.** All that an attempt puts (log, outputs, manifest) lies under a name
of its own, at which no reader of the step looks. `AttemptSlot.publish` then makes it the step if, and only if, the
step has none yet and the slot was not fenced off. On a file system that is the rename of a folder to a name that must
not exist; `fence_off` takes the folder away. On an object store it would be one PUT with `If-Match` of one object for
each run that lists fences, published steps and the end; what an attempt put is then found through it. So `publish`,
`fence_off`, `write_end` (also `within` a slot) and `commit_sweep` must each stay one conditional write. What follows a
publication (the link of a shared step, the run's end) is never needed for it to be true, and is repeated by whoever
misses it.

Errors: OSError for what does not pass, StorageError for what is damaged, refused or failed for longer than the patience
of whoever calls (`patience.py`), StorageAwayError for a store that is not there for now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from io import BufferedReader
from pathlib import Path
from typing import IO, Protocol, TypeVar

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import OutputFile, RunRecord, StepRecord, SweepEnd, SweepRecord
from pipeline_queue.storage.disk import Room
from pipeline_queue.storage.file_tree import FileStamp

_T = TypeVar("_T")


class TooLargeError(Exception):
    """A file is larger than the storage takes (EFBIG)."""

    def __init__(self, path: str, size_bytes: int | None) -> None:
        super().__init__(path, size_bytes)
        self.path = path
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return f"{self.path} is larger than the storage takes"


@dataclass(frozen=True, slots=True)
class KeptTotal:
    """What is kept of failed attempts, of a whole store."""

    attempts: int
    size_bytes: int


class StoredStep(Protocol):
    """Where a step is published: of one run, or shared by several. Nobody changes it once it is."""

    def where(self, name: str = "") -> str:
        """For people: where the step lies, or its output of that name."""

    def is_published(self) -> bool: ...

    def record(self) -> StepRecord | None:
        """The manifest, None while the step is not published. Raises StorageError when it is damaged."""

    def published_record(self) -> StepRecord:
        """The manifest of a step that is known to be published: waited for while this machine does not see it yet.

        Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear.
        """

    def fetch(self, name: str, target: Path) -> FileStamp | None:
        """Copies a file, link or folder (without its content) of the outputs to `target`; the stamp of the copy."""


class AttemptSlot(Protocol):
    """What one attempt writes; no reader of the step sees it before `publish`."""

    @property
    def name(self) -> str:
        """Under which the run's `names` list it."""

    def where(self) -> str:
        """For people: where the attempt's files lie."""

    def make(self) -> None:
        """Makes the slot; safe to repeat. Raises StorageAwayError where the sweep is not to be seen."""

    def log_sink(self) -> str:
        """The path of a file on this machine to which the supervisor appends what the step prints."""

    def append_to_log(self, data: bytes) -> None: ...

    def log_end(self, size_bytes: int) -> bytes:
        """The log's last bytes, at most so many."""

    def drop_log(self) -> None:
        """Of a step that printed nothing."""

    def put_outputs(self, workspace: Path, files: Iterable[OutputFile]) -> None:
        """Moves files of a working directory to the outputs; safe to repeat after an error. Raises TooLargeError."""

    def put_kept(self, workspace: Path, files: Iterable[OutputFile]) -> None:
        """The same to what is kept of a failed attempt."""

    def drop_outputs(self) -> None:
        """Never raises."""

    def drop_kept(self) -> None:
        """Never raises."""

    def share_access(self) -> None:
        """Lets those who share the store read what was put here. Never raises."""

    def write_record(self, record: StepRecord) -> None:
        """Writes the manifest, or replaces it as a whole."""

    def publish(self, target: StoredStep) -> bool:
        """Makes what was put here the step; False when another attempt was first. The one conditional write of a step.

        Safe to repeat: True again for the attempt that was first. Raises OSError once the slot was fenced off.
        """

    def discard(self) -> None:
        """Removes all that was put here. Never raises."""


class StoredRun(Protocol):
    """One run of a sweep; it need not have been begun."""

    def where(self, name: str = "") -> str:
        """For people: where the run lies, or what of it is called so."""

    def names(self) -> frozenset[str]:
        """What there is of the run, at one look: published steps and attempts by name, `run.json` once it has ended
        (`run.json.<n>`: before it was retried), `cancel.requested`."""

    def step(self, step: str) -> StoredStep: ...

    def begin_attempt(self, step: str, attempt: int, uid: str) -> AttemptSlot:
        """The slot for what one attempt writes; nothing is written yet."""

    def attempt_record(self, name: str) -> StepRecord | None:
        """How the attempt of that name ended, None while it has not."""

    def read_visible(self, action: Callable[[], _T]) -> _T:
        """The result of the action, which reads what was put into the run: waited for while it is not to be seen yet.

        Raises FileNotFoundError when it was removed, StorageAwayError when it may still appear.
        """

    def link(self, step: str, shared: StoredStep) -> None:
        """Makes a shared step, of the same store, the run's own; nothing happens when it is."""

    def fence_off(self, step: str, attempt: int) -> None:
        """From now on no attempt at the step up to that number publishes or ends anything, unless it has ended."""

    def drop_kept(self, attempt: str) -> None:
        """Removes what is kept of the attempt of that name. Never raises."""

    def end(self) -> RunRecord | None:
        """How the run ended, None while it has not."""

    def former_end(self, names: frozenset[str]) -> RunRecord | None:
        """How the run ended before it was last retried, None when it never was."""

    def write_end(self, record: RunRecord, within: AttemptSlot | None = None) -> bool:
        """Ends the run, unless it has ended; whether this did. With `within`, only while that slot is not fenced off:
        OSError otherwise."""

    def request_cancel(self) -> None:
        """Writes down that the run is to end."""

    def reopen(self) -> None:
        """Makes an ended run one that has not ended; how it did is kept. Raises StorageError."""


class RunStore(Protocol):
    """All sweeps of one installation."""

    # What it is, and how it is.

    def where(self) -> str:
        """For people: where the store lies."""

    def token(self) -> str:
        """What names this store wherever it is reached from. Raises StorageError when there is none."""

    def check(self, expected: str) -> None:
        """Raises StorageError unless this is the store of that token."""

    def check_access(self, most_sweeps: int = 0) -> None:
        """Raises StorageError when this user may not write what every submission and run needs, or to one of the newest
        `most_sweeps` sweeps."""

    def room(self) -> Room:
        """What is free for this user."""

    def try_to_write(self) -> None:
        """Writes something, reads it and removes it. Raises OSError."""

    # Sweeps.

    def commit_sweep(self, record: SweepRecord, pipeline_text: bytes, may_exist: bool = False) -> bool:
        """Makes the submission exist, whole and durable; False when its name is taken.

        `may_exist`: an earlier submitter of the same name may have been stopped before the commit point.
        """

    def has_sweep(self, sweep: str) -> bool: ...

    def where_sweep(self, sweep: str) -> str:
        """For people: where the sweep's record lies."""

    def read_sweep(self, sweep: str) -> SweepRecord:
        """Raises NotFoundError when there is no such sweep."""

    def sweep_bytes(self, sweep: str) -> int:
        """The size of the sweep's record, 0 when it is gone."""

    def sweeps(self) -> Iterator[str]:
        """The names of all sweeps, newest first; of some, the submitter may have been stopped before the commit."""

    def sweep_end(self, sweep: str) -> SweepEnd | None:
        """How the sweep ended, None while it has not, or has one run only."""

    def end_sweep(self, end: SweepEnd) -> None: ...

    def reopen_sweep(self, sweep: str) -> None:
        """Makes an ended, cancelled or paused sweep one that goes on."""

    def retry_choice(self, sweep: str) -> frozenset[int] | None:
        """The runs of an ended sweep that are done again; None: all that were not done."""

    def choose_retry(self, sweep: str, indexes: Iterable[int] | None) -> None: ...

    def request_cancel(self, sweep: str) -> None:
        """Writes down that the sweep is to end."""

    def is_cancelled(self, sweep: str) -> bool: ...

    def set_paused(self, sweep: str, paused: bool) -> None:
        """Writes down whether more runs of the sweep may start."""

    def is_paused(self, sweep: str) -> bool: ...

    def delete_sweep(self, record: SweepRecord) -> None:
        """Takes the sweep out of sight at once, then removes it, and its snapshot if it was the last that named it."""

    # Runs and steps.

    def run(self, run: RunId, label: Mapping[str, str], total: int = 1) -> StoredRun:
        """`label` is what a person should read beside the index; `total` runs has the sweep."""

    def runs(self, sweep: str) -> Iterator[tuple[int, StoredRun]]:
        """Every run of the sweep of which something is written down, with its index, in no order."""

    def run_ends(self, sweep: str) -> Iterator[tuple[str, bytes]]:
        """What every run that has ended wrote as its end, and where that lies; in no order. Raises NotFoundError."""

    def shared_step(self, sweep: str, shared: str) -> StoredStep:
        """A step that several runs of the sweep have in common."""

    def shared_steps(self, sweep: str) -> frozenset[str]:
        """The names of those that are published."""

    def reused_step(self, shared: str) -> StoredStep:
        """A step that runs of all sweeps may have in common."""

    # Snapshots.

    def put_snapshot(self, digest: str, tar: IO[bytes]) -> None:
        """Keeps a packed folder under its digest unless it is there already."""

    def read_snapshot(self, digest: str, action: Callable[[BufferedReader], _T]) -> _T:
        """The result of the action, which reads the tar; done again from its beginning while that fails with what may
        pass. Raises FileNotFoundError when there is none."""

    def where_snapshot(self, digest: str) -> str:
        """For people."""

    # What nobody needs any more.

    def remove_reused(self, older_than_seconds: float) -> tuple[int, int]:
        """Removes the steps published for all sweeps that no run links to; how many, and how many stay."""

    def note_kept(self, attempt: AttemptSlot, day: date, size_bytes: int | None = None) -> None:
        """Writes down that an attempt has files that are kept, so that they are found when they are old or too many."""

    def remove_kept(self, before: date) -> int:
        """Removes the files that were kept before that day; of how many attempts."""

    def remove_kept_above(self, limit_bytes: int) -> int:
        """Removes the oldest until the rest is within the limits; of how many attempts."""

    def kept_total(self) -> KeptTotal:
        """What is kept now."""
