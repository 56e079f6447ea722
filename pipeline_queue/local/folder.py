"""The one folder that the embedded default keeps, and the two locks that say who uses it.

pipeline-queue-data/storage/       sweeps, runs and their outputs
pipeline-queue-data/scratch/       working directories while steps run
pipeline-queue-data/service.json   the running service (mode 600: it holds the broker's password)
pipeline-queue-data/service.lock   held by the one service
pipeline-queue-data/clients.lock   shared by every command that needs the service
pipeline-queue-data/*.log          what the server, the worker and Flower wrote
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.settings import RESERVED_PREFIX, STORAGE, Settings

DATA = f"{RESERVED_PREFIX}DATA"
_DEFAULT_NAME = "pipeline-queue-data"
_VERSION = 1
_LOOKS = 5
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ServiceNote:
    """What a running service says of itself. `while_needed`: it ends when nobody needs it."""

    pid: int
    broker_url: str
    flower_url: str | None
    while_needed: bool


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths and locks; making one touches nothing."""

    root: Path
    storage: Path

    @classmethod
    def of(cls, environment: Mapping[str, str], current: Path) -> DataFolder:
        """`PIPELINE_QUEUE_DATA`, else `pipeline-queue-data` in the current folder."""
        root = Path(environment.get(DATA) or current / _DEFAULT_NAME).expanduser().absolute()
        return cls(root, Path(environment.get(STORAGE) or root / "storage").expanduser().absolute())

    def make(self) -> None:
        """Raises StorageError when the folder cannot be made."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the folder {self.root} cannot be made: {error.strerror}") from error

    def settings(self, broker_url: str) -> Settings:
        return Settings(broker_url, self.storage, self.root / "scratch")

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def read_note(self) -> ServiceNote | None:
        """None when no service has said it is ready."""
        try:
            data = json.loads((self.root / "service.json").read_bytes())
            if data.pop("v", None) != _VERSION:
                return None
            return ServiceNote(**data)
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            return None

    def write_note(self, note: ServiceNote) -> None:
        path = self.root / "service.json"
        temporary = path.with_name(f".service.json.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor, not a path
            json.dump({"v": _VERSION, **asdict(note)}, file)
        temporary.replace(path)

    def remove_note(self) -> None:
        (self.root / "service.json").unlink(missing_ok=True)

    @contextmanager
    def serving(self) -> Iterator[bool]:
        """Holds the service's lock; False when another service has it."""
        for _ in range(_LOOKS):
            with self._locked("service.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as got:
                if got:
                    yield True
                    return
            # Perhaps only `is_served` of another process, which holds it for a moment.
            time.sleep(_LOOK_SECONDS)
        yield False

    def is_served(self) -> bool:
        """Whether a service lives, ready or not."""
        if not (self.root / "service.lock").exists():
            return False
        with self._locked("service.lock", fcntl.LOCK_SH | fcntl.LOCK_NB) as free:
            return not free

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Keeps the service from ending while the block runs; waits for one that is about to end."""
        with self._locked("clients.lock", fcntl.LOCK_SH):
            yield

    @contextmanager
    def without_clients(self) -> Iterator[bool]:
        """Keeps new clients out while the block runs; False when somebody is attached."""
        with self._locked("clients.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as got:
            yield got

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[bool]:
        try:
            descriptor = os.open(self.root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{self.root / name} cannot be opened: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)
