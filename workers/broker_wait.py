"""Waits at the start of a worker until its broker answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.contract.settings import without_password
from pipeline_queue.index.connection import answers, check_access

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
_TOLD_EVERY_SECONDS = 30.0


def wait_for_broker(
    broker_url: str, commands: Sequence[Sequence[str]], waits: bool, is_stopped: Callable[[], bool]
) -> bool:
    """Returns True once the broker answers, False when `is_stopped` says so before.

    Raises BrokerError for a refusal that waiting does not mend, and, unless it `waits`, for a broker that is not there.
    `commands` are harmless ones that its user must be allowed.
    """
    told_at = -_TOLD_EVERY_SECONDS
    while not is_stopped():
        check_access(broker_url, commands)
        if answers(broker_url):
            return True
        text = f"the broker {without_password(broker_url)} cannot be reached"
        if not waits:
            raise BrokerError(f"{text} (is it running?)")
        now = time.monotonic()
        if now - told_at >= _TOLD_EVERY_SECONDS:
            logger.warning("%s; waiting for it (--no-wait ends the worker instead)", text)
            told_at = now
        time.sleep(_PAUSE_SECONDS)
    return False
