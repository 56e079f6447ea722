"""The shared storage: where everything lies, and the few operations that must be atomic.

    <root>/pipeline_queue.json                     what this folder is, and its version
    <root>/snapshots/<digest>.tar                  the pipeline's folder as it was at submission
    <root>/sweeps/<sweep>/sweep.json               the commit point of a submission
    <root>/sweeps/<sweep>/<pipeline file>          a copy, to read
    <root>/sweeps/<sweep>/runs/<run>/run.json      how the run ended
    <root>/sweeps/<sweep>/runs/<run>/cancelled     somebody asked for an end
    <root>/sweeps/<sweep>/runs/<run>/<step>/       published: outputs/, log, step.json
    <root>/sweeps/<sweep>/runs/<run>/<step>.attempt-<n>-<uid>/   in progress, or failed

`<run>` is the index and the parameters that are not defaults, `0-learning_rate=0.01`, so that a person
finds outputs by browsing. Everything that assumes a file system (local or NFS) is in this file.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.errors import NotFoundError, StorageError
from pipeline_queue.contract.identity import RunId, is_sweep_id
from pipeline_queue.contract.records import RunRecord, StepRecord, SweepRecord

_MARKER = "pipeline_queue.json"
_VERSION = 1
_LABEL_BYTES = 120

RUN_END = "run.json"
CANCELLED = "cancelled"
STEP_RECORD = "step.json"
OUTPUTS = "outputs"
LOG = "log"


def run_folder(index: int, label: Mapping[str, str]) -> str:
    """`0-learning_rate=0.01,optimizer=adam`: the index decides, the rest is for people.

    `label` is name -> canonical text of the parameters worth showing.
    """
    text = ",".join(f"{name}={value}" for name, value in label.items())
    safe = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text, flags=re.ASCII)[:_LABEL_BYTES]
    return f"{index}-{safe}" if safe else str(index)


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Every path of one run."""

    folder: Path

    def step(self, step: str) -> Path:
        return self.folder / step

    def attempt(self, step: str, attempt: int, uid: str) -> Path:
        return self.folder / f"{step}.attempt-{attempt}-{uid}"

    def names(self) -> frozenset[str]:
        """What lies in the run's folder: published steps, attempts, `run.json`, `cancelled`."""
        try:
            return frozenset(os.listdir(self.folder))  # noqa: PTH208 - names, not paths: this is hot
        except FileNotFoundError:
            return frozenset()

    def latest_attempt(self, step: str, names: frozenset[str]) -> Path | None:
        """The attempt of the highest number that was not published."""
        prefix = f"{step}.attempt-"
        attempts = [name for name in names if name.startswith(prefix)]
        number = {name: int(name.removeprefix(prefix).partition("-")[0]) for name in attempts}
        return self.folder / max(attempts, key=number.__getitem__) if attempts else None

    def end(self) -> RunRecord | None:
        """How the run ended, None while it has not."""
        data = read_bytes(self.folder / RUN_END)
        return None if data is None else RunRecord.model_validate_json(data)


@dataclass(frozen=True, slots=True)
class Storage:
    """The file system with the layout above; `root` is absolute."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Storage:
        """The storage at `root`, made ready when the folder is new.

        Raises StorageError when it cannot be written or was made by another version.
        """
        storage = cls(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            storage._sweeps().mkdir(exist_ok=True)
            storage._snapshots().mkdir(exist_ok=True)
            create_exclusive(root / _MARKER, json.dumps({"v": _VERSION, "token": secrets.token_hex(8)}).encode())
            marker = json.loads((root / _MARKER).read_bytes())
        except OSError as error:
            raise StorageError(f"the storage {root} cannot be written: {error.strerror or error}") from error
        except ValueError as error:
            raise StorageError(f"{root / _MARKER} is not readable JSON; is {root} a storage?") from error
        if not isinstance(marker, dict) or marker.get("v") != _VERSION:
            raise StorageError(f"{root} was made by another version of pipeline_queue (this one reads {_VERSION})")
        return storage

    def _sweeps(self) -> Path:
        return self.root / "sweeps"

    def _snapshots(self) -> Path:
        return self.root / "snapshots"

    def snapshot(self, digest: str) -> Path:
        return self._snapshots() / f"{digest}.tar"

    def sweep(self, sweep: str) -> Path:
        """Raises NotFoundError for a text that cannot be the name of a sweep."""
        if not is_sweep_id(sweep):
            raise NotFoundError(f"'{sweep[:100]}' is not the name of a sweep (they look like train-7k3m9q2x)")
        return self._sweeps() / sweep

    def run(self, run: RunId, label: Mapping[str, str]) -> RunPaths:
        return RunPaths(self.sweep(run.sweep) / "runs" / run_folder(run.index, label))

    def commit_sweep(self, record: SweepRecord, pipeline_text: bytes) -> bool:
        """Makes the submission exist, whole and durable; False when its name is taken.

        `sweep.json` is written last, exclusively, and is on disk when this returns.
        """
        folder = self.sweep(record.id)
        try:
            folder.mkdir()
        except FileExistsError:
            return False
        (folder / (Path(record.source).name or "pipeline.yaml")).write_bytes(pipeline_text)
        committed = create_exclusive(folder / "sweep.json", record.model_dump_json().encode(), durable=True)
        sync_folder(folder.parent)
        return committed

    def read_sweep(self, sweep: str) -> SweepRecord:
        """Raises NotFoundError when there is no such sweep."""
        data = read_bytes(self.sweep(sweep) / "sweep.json")
        if data is None:
            raise NotFoundError(f"there is no sweep '{sweep}' in {self.root}")
        return SweepRecord.model_validate_json(data)

    def sweeps(self) -> Iterator[str]:
        """The names of all sweeps, newest first."""
        try:
            entries = [(entry.stat().st_mtime, entry.name) for entry in os.scandir(self._sweeps())]
        except OSError as error:
            raise StorageError(f"the storage {self.root} cannot be read: {error.strerror}") from error
        return (name for _, name in sorted(entries, reverse=True) if is_sweep_id(name))


def read_bytes(path: Path) -> bytes | None:
    """The file's content, None when it is not there."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_step(folder: Path) -> StepRecord | None:
    """The manifest of a published step or an ended attempt."""
    data = read_bytes(folder / STEP_RECORD)
    return None if data is None else StepRecord.model_validate_json(data)


def create_exclusive(path: Path, data: bytes, durable: bool = False) -> bool:
    """Writes a whole new file or nothing; False when the name is taken. Raises OSError."""
    temporary = _write_beside(path, data, durable)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        # No hard links here (some network file systems): exclusive, though a reader may see it half-written.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        return _create_in_place(path, data)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)
    return True


def replace(path: Path, data: bytes) -> None:
    """Writes the whole file or leaves what was there. Raises OSError."""
    _write_beside(path, data, durable=False).replace(path)


def publish(attempt: Path, target: Path, uid: str) -> bool:
    """Makes the attempt's folder the step's folder; False when another attempt already did.

    `rename` onto a name that must not exist is atomic. A network file system may report an error although it
    happened, so after any error the winner is read again (FACTS of rename: it *succeeds* onto an empty folder,
    therefore nobody ever creates the target).
    """
    try:
        attempt.rename(target)
    except OSError as error:
        winner = read_step(target)
        if winner is None:
            raise
        if winner.uid != uid and error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
        return winner.uid == uid
    return True


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_beside(path: Path, data: bytes, durable: bool) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with temporary.open("xb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    return temporary


def _create_in_place(path: Path, data: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True
