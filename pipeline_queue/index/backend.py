"""Opens one client's index and storage, each on first use."""

from __future__ import annotations

from pathlib import Path

from pipeline_queue.contract.errors import BrokerError, NotFoundError
from pipeline_queue.contract.settings import Settings
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.index.storage_match import open_storage
from pipeline_queue.storage.storage import Storage


class Backend:
    """`run_index` is None without a broker."""

    def __init__(self, root: Path, settings: Settings | None) -> None:
        self.root = root
        self.settings = settings
        self.run_index = RunIndex.of(settings) if settings else None
        self._opened: Storage | None = None

    def live(self) -> RunIndex:
        """Raises BrokerError without a broker."""
        if self.run_index is None:
            raise BrokerError("no broker is configured and no service runs here; start one with `pipeline-queue up`")
        return self.run_index

    def writable(self) -> Storage:
        """The storage, created if missing; it must belong to the broker. Raises BrokerError and StorageError."""
        if self._opened is None:
            self._opened = open_storage(self.root, self.run_index) if self.run_index else Storage.open(self.root)
        return self._opened

    def readable(self) -> Storage:
        """The storage. Raises NotFoundError if there is no storage and no broker to create one for."""
        storage = Storage(self.root)
        if storage.is_made():
            return storage
        if self.settings is None:
            raise NotFoundError(f"there are no runs yet in {self.root}")
        return self.writable()

    def check_signing_key(self) -> None:
        """Raises SettingsError when the key is no longer usable."""
        if self.settings and self.settings.signing_key_file:
            from pipeline_queue.broker.signing import read_signing_key

            read_signing_key(self.settings.signing_key_file)
