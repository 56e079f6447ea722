"""State of the whole server: whether it is complete, who is the active reconciler, and which storage belongs to it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors
from pipeline_queue.index.decoding import GarbageError
from pipeline_queue.index.scripts import script

if TYPE_CHECKING:
    from pipeline_queue.index.mending import MendingRedis

_REMEMBER_FILLING_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Filling:
    """One filling of a server from the storage: the server's run id, and a mark that is lost when it is flushed."""

    server: str
    mark: str


class ServerState:
    """Thread-safe; every method raises BrokerError when Redis is not there."""

    def __init__(self, redis: MendingRedis, broker_url: str) -> None:
        self._redis = redis
        self._url = broker_url
        self._hold = redis.register_script(script("hold"))
        self._let_go = redis.register_script(script("let_go"))
        self._note_complete = redis.register_script(script("note_complete"))

    def hold_reconciler(self, holder: str, seconds: float) -> bool:
        """True while this holder is the one active reconciler."""
        with broker_errors(self._url):
            return bool(self._hold(keys=[keys.RECONCILER], args=[holder, int(seconds * 1000)]))

    def has_work(self) -> bool:
        """Whether anything is unfinished, leased, to be retried or being submitted; one command."""
        with broker_errors(self._url):
            return bool(self._redis.exists(keys.SWEEPS, keys.SUBMITTED, keys.LEASES, keys.RETRIES))

    def is_complete(self) -> bool:
        """Whether this server has been filled from the storage since it last started or was flushed."""
        with broker_errors(self._url):
            return bool(self._redis.get(keys.SERVER) == self._server_id())

    def begin_filling(self) -> Filling:
        """Begin to fill the server with everything that is unfinished on the storage."""
        with broker_errors(self._url):
            filling = Filling(self._server_id(), secrets.token_hex(8))
            self._redis.set(keys.filling_key(filling.mark), filling.server, ex=_REMEMBER_FILLING_SECONDS)
        return filling

    def note_complete(self, filling: Filling) -> bool:
        """Mark the server as complete; False if it was flushed or restarted in the meantime."""
        with broker_errors(self._url):
            names = [keys.filling_key(filling.mark), keys.SERVER]
            return bool(self._note_complete(keys=names, args=[filling.server]))

    def _server_id(self) -> str:
        """Differs for each start of the server: the last writes before it was killed may be lost."""
        return str(self._redis.info("server")["run_id"])

    def leave_reconciler(self, holder: str) -> None:
        """Release the lock, so that another holder can become the active reconciler at once."""
        with broker_errors(self._url):
            self._let_go(keys=[keys.RECONCILER], args=[holder])

    def storage_token(self) -> str | None:
        """The token of the storage that belongs to this broker, None before the first use."""
        with broker_errors(self._url):
            token = cast("str | None", self._redis.get(keys.STORAGE))
            try:
                return token and decoding.storage_token(token)
            except GarbageError as error:
                self._redis.drop_key(keys.STORAGE, str(error))
                return None

    def agree_on_storage(self, token: str, anew: bool = False) -> str:
        """The token of the broker's storage: `token` if the broker had none or if `anew` is set."""
        with broker_errors(self._url):
            if self._redis.set(keys.STORAGE, token, nx=not anew):
                return token
        known = self.storage_token()
        return self.agree_on_storage(token, anew=True) if known is None else known
