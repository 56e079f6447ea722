"""Rejects bad messages: logs them and adds them to the dead letters."""

from __future__ import annotations

import logging

from pipeline_queue.broker.validation import fault_of
from pipeline_queue.contract.errors import BrokerError
from pipeline_queue.index.dead_letters import DeadLetters
from pipeline_queue.index.decoding import printable

logger = logging.getLogger(__name__)


class Refusals:
    """Thread-safe; never raises, for what comes after a bad message must be executed."""

    def __init__(self, dead: DeadLetters, worker: str) -> None:
        self._dead = dead
        self._worker = worker

    def screen(self, queue: str, entry: bytes) -> bool:
        """True for a message that Celery may have; others are refused."""
        fault = fault_of(queue, entry)
        if fault:
            self.refuse(entry, fault, queue)
        return not fault

    def refuse(self, payload: bytes, reason: str, queue: str) -> None:
        logger.error("refused a message of %d bytes queue=%s: %s", len(payload), printable(queue), printable(reason))
        try:
            self._dead.keep(payload, reason, queue, self._worker)
        except BrokerError as error:
            logger.error("not kept in the dead list: %s", error)
