"""The one folder that the embedded default keeps, and the two locks that say who uses it.

pipeline-queue-data/storage/       sweeps, runs and their outputs
pipeline-queue-data/environments/  the environments of those who submitted, until their sweeps end (private)
pipeline-queue-data/service.json   the running service (mode 600: it holds the broker's password)
pipeline-queue-data/service.lock   held by the one service
pipeline-queue-data/clients.lock   shared by every command that needs the service
pipeline-queue-data/*.log          what the server, the worker and Flower wrote
pipeline-queue-data/.gitignore     keeps all of it out of version control
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.settings import BROKER_URL, RESERVED_PREFIX, STORAGE, Settings, settings_from
from pipeline_queue.storage.private_folder import is_own, make_private_folder, read_private_file, write_private_file
from pipeline_queue.storage.submitted_environment import EnvironmentFolder

DATA = f"{RESERVED_PREFIX}DATA"
_DEFAULT_NAME = "pipeline-queue-data"
_SERVICE_LOCK = "service.lock"
_REMEDY = f"set {DATA} to a folder of your own: {DATA}=~/runs"
_VERSION = 1
_ERROR = "error: "
_MAX_NOTE_BYTES = 64 * 1024
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

    @classmethod
    def nearest(cls, environment: Mapping[str, str], current: Path) -> DataFolder:
        """As `of`, but without `PIPELINE_QUEUE_DATA` also one of this user's in a folder above, as git looks."""
        own = cls.of(environment, current)
        if environment.get(DATA) or own.root.is_dir():
            return own
        return cls.above(environment, current) or own

    @classmethod
    def above(cls, environment: Mapping[str, str], current: Path) -> DataFolder | None:
        """The nearest of this user's that lies in a folder above `current`; None: there is none."""
        for folder in current.absolute().parents:
            root = folder / _DEFAULT_NAME
            if root.is_dir() and is_own(root):
                return cls.of({**environment, DATA: str(root)}, folder)
        return None

    @property
    def environments(self) -> EnvironmentFolder:
        return EnvironmentFolder(self.root / "environments")

    def is_own(self) -> bool:
        """Whether it is there and this user's: what another user put there is not to be trusted."""
        return is_own(self.root)

    def make(self) -> None:
        """Raises StorageError when the folder cannot be made or written, or is another user's."""
        made = make_private_folder(self.root, _REMEDY, mode=0o755)
        with suppress(OSError):  # only a convenience
            if made or self.root.name == _DEFAULT_NAME or not any(self.root.iterdir()):
                _ignore_in_git(self.root)

    def settings(self, broker_url: str) -> Settings:
        """Raises SettingsError for a limit in the environment that makes no sense.

        The scratch folder is not in here: a step that looked upwards from it would find the live project.
        """
        chosen = settings_from({**os.environ, BROKER_URL: broker_url, STORAGE: str(self.storage)})
        return replace(
            chosen,
            signing_key_file=None,
            environments=self.environments.path,
            remote_control="queues",
            waits_for_broker=False,
        )

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    @contextmanager
    def open_log(self, name: str) -> Iterator[IO[bytes]]:
        """To be appended to. Raises StorageError; a link that somebody put there is not followed."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.log(name), flags, 0o644)
        except OSError as error:
            raise StorageError(f"{self.log(name)} cannot be opened: {error.strerror}; {_REMEDY}") from error
        with os.fdopen(descriptor, "ab") as file:
            yield file

    def log_bytes(self, name: str) -> int:
        """How much is in it, 0 of one that is not there."""
        try:
            return self.log(name).lstat().st_size
        except OSError:
            return 0

    def read_error(self, name: str, since_bytes: int) -> str:
        """The last error that a command printed into a log after so much of it, else a pointer to the log."""
        with suppress(OSError), self.log(name).open("rb") as file:
            file.seek(max(since_bytes, self.log_bytes(name) - _MAX_NOTE_BYTES))
            lines = file.read(_MAX_NOTE_BYTES).decode(errors="replace").splitlines()
            errors = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
            if errors:
                return f": {errors[-1]}"
        return f"; see {self.log(name)}"

    def read_note(self) -> ServiceNote | None:
        """None when no service has said it is ready."""
        try:
            data = json.loads(read_private_file(self.root / "service.json", _MAX_NOTE_BYTES) or b"")
            if data.pop("v", None) != _VERSION:
                return None
            return ServiceNote(**data)
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            return None

    def write_note(self, note: ServiceNote) -> None:
        data = json.dumps({"v": _VERSION, **asdict(note)})
        write_private_file(self.root / "service.json", data.encode())

    def remove_note(self) -> None:
        (self.root / "service.json").unlink(missing_ok=True)

    @contextmanager
    def serving(self) -> Iterator[bool]:
        """Holds the service's lock; False when another service has it."""
        for _ in range(_LOOKS):
            with self._locked(_SERVICE_LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB) as got:
                if got:
                    yield True
                    return
            # Perhaps only `is_served` of another process, which holds it for a moment.
            time.sleep(_LOOK_SECONDS)
        yield False

    def is_served(self) -> bool:
        """Whether a service of this user lives, ready or not."""
        if not is_own(self.root / _SERVICE_LOCK):
            return False
        with self._locked(_SERVICE_LOCK, fcntl.LOCK_SH | fcntl.LOCK_NB) as free:
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
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.root / name, flags, 0o600)
        except OSError as error:
            raise StorageError(f"{self.root / name} cannot be opened: {error.strerror}; {_REMEDY}") from error
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)


class FolderWatch:
    """Whether what a service lives in is still what it was: removed, emptied or made anew, it is gone.

    Descriptors keep the numbers of files that are removed from being given to new ones.
    """

    def __init__(self, folder: DataFolder) -> None:
        """Raises OSError. The lock is in it, since a service whose lock is gone is found by nobody."""
        own = [folder.storage] if folder.storage.is_relative_to(folder.root) else []
        self._held: dict[Path, int] = {}
        for path in (folder.root, folder.root / _SERVICE_LOCK, *own):
            self._held[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._missed = 0

    def is_gone(self) -> bool:
        """Once several looks in a row have found another one, or none."""
        self._missed = 0 if all(map(self._is_there, self._held)) else self._missed + 1
        return self._missed >= _LOOKS

    def close(self) -> None:
        while self._held:
            os.close(self._held.popitem()[1])

    def _is_there(self, path: Path) -> bool:
        try:
            return os.path.samestat(path.stat(), os.fstat(self._held[path]))
        except FileNotFoundError:
            return False
        except OSError:  # of a file system that does not answer just now
            return True


def _ignore_in_git(folder: Path) -> None:
    """As virtual environments and the caches of tools do; an existing file stays as it is. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder / ".gitignore", flags, 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write("# Made by pipeline-queue: runs, their outputs and logs.\n*\n")
