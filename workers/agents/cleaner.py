"""Removes unused files while the worker runs: folders of killed workers, and files kept for too long."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.settings import DEFAULT_KEEP_TOTAL_BYTES
from pipeline_queue.storage.run_store import RunStore
from workers.workspace import Workspaces

logger = logging.getLogger(__name__)

_ABANDONED_SECONDS = 60.0
_KEPT_ROUNDS = 60
_MAX_DAYS = 36_500


class Cleaner:
    """Cleans in a thread of its own; what it cannot remove now, it tries again next time."""

    def __init__(
        self,
        workspaces: Workspaces,
        storage: RunStore,
        keep_days: int,
        keep_total_bytes: int = DEFAULT_KEEP_TOTAL_BYTES,
    ) -> None:
        self._workspaces = workspaces
        self._storage = storage
        self._keep_total_bytes = keep_total_bytes
        self._keep_days = min(keep_days, _MAX_DAYS)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        rounds = 0
        is_kept_due = True
        while True:
            try:
                # First, because the worker takes no step while the scratch folder is missing.
                self._workspaces.make_again()
                self._workspaces.remove_abandoned()
                self._workspaces.remove_idle()
                self._storage.remove_kept_above(self._keep_total_bytes)
                is_kept_due |= rounds % _KEPT_ROUNDS == 0
                if is_kept_due:
                    self._storage.remove_kept(before=datetime.now(UTC).date() - timedelta(days=self._keep_days))
                    is_kept_due = False
            except (OSError, StorageError) as error:
                logger.warning("skip cleanup: %s", error)
            except Exception:
                logger.exception("abort cleanup")
            rounds += 1
            if self._stopped.wait(_ABANDONED_SECONDS):
                return
