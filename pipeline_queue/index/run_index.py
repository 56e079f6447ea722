"""Reads and writes the live index of runs in Redis; no other module does.

The index can be lost at any time. The storage is the truth, and the index's entries are written again when the run is
enqueued next.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from pipeline_queue.broker.message import Message
from pipeline_queue.broker.signing import SigningKey, read_signing_key
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import MAX_SPANS
from pipeline_queue.contract.settings import Settings
from pipeline_queue.contract.states import RunState
from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors, connect, server_time
from pipeline_queue.index.dead_letters import DeadLetters
from pipeline_queue.index.decoding import GarbageError
from pipeline_queue.index.leases import LEASE_SECONDS, MAX_DEATHS, Ending, Lease, Refusal, read_answer
from pipeline_queue.index.live_runs import REMEMBER_ENDED_SECONDS, LiveRun, live_run
from pipeline_queue.index.scripts import script, script_beyond_memory
from pipeline_queue.index.server_state import ServerState
from pipeline_queue.index.shared_steps import SHARED_SECONDS
from pipeline_queue.index.sweep_index import SweepIndex
from pipeline_queue.index.worker_registry import WorkerRegistry

if TYPE_CHECKING:
    from redis import Redis

_REMEMBER_UNWRITTEN_SECONDS = 7 * 24 * 3600
_PUT_OFF_SECONDS = 15.0
_AVOIDED_SECONDS = 0.5
"""Until a step that a worker leaves to others is enqueued again."""
_MAX_LEASE_SECONDS = 4 * LEASE_SECONDS
_MAX_DELAY_SECONDS = 3600.0
"""A lease or retry whose time lies further ahead is due at once."""
_MAX_DUE = 200
_MAX_SENT = 200
"""How many messages go to Redis in one transaction."""


class RunIndex:
    """The live view of runs in Redis. Thread-safe. Methods that use Redis raise BrokerError when Redis fails."""

    def __init__(self, broker_url: str, timeout_seconds: float = 5.0, signing_key: SigningKey | None = None) -> None:
        """`signing_key` signs the messages that are sent through this index."""
        self._url = broker_url
        self.signing_key = signing_key
        self._redis = connect(broker_url, timeout_seconds)
        self._own = threading.local()
        self.sweeps = SweepIndex(self._redis, broker_url)
        self.workers = WorkerRegistry(self._redis, broker_url)
        self.server = ServerState(self._redis, broker_url)
        self.dead = DeadLetters(self._redis, broker_url)
        register = self._redis.register_script
        self._close = register(script("close_run"))
        self._claim = register(script("claim"))
        self._renew = register(script("renew"))
        self._renew_when_full = register(script_beyond_memory("renew"))
        self._record = register(script("record"))
        self._cancel = register(script("cancel_run"))
        self._due = register(script("due"))

    @classmethod
    def of(cls, settings: Settings) -> RunIndex:
        """Raises SettingsError for a signing key that cannot be used."""
        file = settings.signing_key_file
        return cls(settings.broker_url, signing_key=read_signing_key(file) if file else None)

    def close(self) -> None:
        self._redis.close()

    def ping(self) -> dict[str, Any]:
        """Redis' `INFO`, for `doctor`."""
        with broker_errors(self._url):
            info: dict[str, Any] = self._redis.info()
            return info

    def configuration(self, name: str) -> str | None:
        """The value of one `CONFIG GET`; None if the server denies it."""
        from redis.exceptions import ResponseError

        with broker_errors(self._url):
            try:
                return self._redis.config_get(name).get(name)
            except ResponseError:
                return None

    def time(self) -> float:
        """Redis' clock in Unix seconds."""
        with broker_errors(self._url):
            return server_time(self._redis)

    def close_run(self, run: RunId, state: RunState) -> None:
        """Record that a run has ended on the storage, when the process that ended it could not record it here."""
        with broker_errors(self._url):
            names = [keys.run_key(run), keys.ACTIVE, *_sweep_keys(run.sweep)]
            self._close(keys=names, args=[str(run), state, REMEMBER_ENDED_SECONDS])

    def forget_run(self, run: RunId) -> None:
        """Delete everything about a run that is not on the storage."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(keys.run_key(run))
            pipe.srem(keys.ACTIVE, str(run))
            pipe.execute()

    def active(self) -> int:
        """How many runs are in flight; at least the number of unended sweeps."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.scard(keys.ACTIVE)
            pipe.scard(keys.SWEEPS)
            return int(max(pipe.execute()))

    def claim(
        self,
        run: RunId,
        step: str,
        holder: str,
        worker: str,
        attempts: int = 0,
        leads: tuple[str, str] | None = None,
        is_for_anybody: bool = False,
    ) -> Lease | Refusal:
        """The lease for one more attempt, or why not.

        `holder` identifies this claim, so that it can be repeated when its answer was lost. `attempts` is how many
        the storage knows of, in case Redis has lost them. `leads` is the shared step that the run executes.
        `is_for_anybody` also grants the lease to a worker that should leave the step to others.
        """
        with broker_errors(self._url):
            reply = self._claim(
                client=self._thread_client(),
                keys=[
                    keys.run_key(run),
                    keys.LEASES,
                    keys.TOKEN,
                    keys.RETRIES,
                    keys.ACTIVE,
                    keys.sweep_key(run.sweep),
                    keys.held_key(run.sweep),
                    keys.flight_key(run.sweep),
                ],
                args=[
                    str(run),
                    step,
                    holder,
                    worker,
                    int(LEASE_SECONDS * 1000),
                    MAX_DEATHS,
                    attempts,
                    "1" if is_for_anybody else "",
                    int(_AVOIDED_SECONDS * 1000),
                ],
            )
        return read_answer(run, step, leads, reply)

    def renew(self, leases: Sequence[Lease], worker: str = "") -> list[Literal["held", "cancelled", "lost"]]:
        """Extend leases; one answer per lease, in order. A flushed server records them again as this worker's."""
        if not leases:
            return []
        args: list[str | int] = [int(LEASE_SECONDS * 1000), worker, SHARED_SECONDS]
        for lease in leases:
            args += [str(lease.run), lease.step, lease.token, lease.attempt, lease.failures]
            args += [keys.leaders_key(lease.leads[0]), lease.leads[1]] if lease.leads else ["", ""]
        from redis.exceptions import OutOfMemoryError

        names = [keys.LEASES, keys.ACTIVE, *(keys.run_key(lease.run) for lease in leases)]
        answers: list[Literal["held", "cancelled", "lost"]]
        with broker_errors(self._url):
            try:
                answers = self._renew(keys=names, args=args)
            except OutOfMemoryError:
                # Running steps continue: only new work waits for memory.
                answers = self._renew_when_full(keys=names, args=args)
            return answers

    def send(self, messages: Sequence[Message]) -> None:
        """Puts messages on their queues."""
        for first in range(0, len(messages), _MAX_SENT):
            with broker_errors(self._url):
                pipe = self._redis.pipeline(transaction=False)
                for message in messages[first : first + _MAX_SENT]:
                    pipe.lpush(message.list, message.encode())
                pipe.execute()

    def record(self, lease: Lease, ending: Ending, following: Message | None = None) -> bool:
        """False if another claim now has the lease; nothing is written then. Sends `following` atomically with it."""
        with broker_errors(self._url):
            return bool(
                self._record(
                    client=self._thread_client(),
                    keys=[
                        keys.run_key(lease.run),
                        keys.LEASES,
                        keys.RETRIES,
                        keys.ACTIVE,
                        *_sweep_keys(lease.run.sweep),
                        following.list if following else keys.LEASES,  # never an empty name, which ACL rules deny
                    ],
                    args=[
                        str(lease.run),
                        lease.step,
                        lease.token,
                        ending.step_state,
                        ending.run_state,
                        ending.failures,
                        ending.deaths,
                        ending.seconds,
                        "" if ending.exit_code is None else ending.exit_code,
                        ending.message,
                        int(ending.retry_seconds * 1000),
                        _REMEMBER_UNWRITTEN_SECONDS if ending.is_unwritten else REMEMBER_ENDED_SECONDS,
                        ending.cause,
                        following.step if following else "",
                        following.encode() if following else "",
                        ending.published,
                        ending.handed_on,
                        "\n".join(ending.avoid),
                        int(ending.avoid_seconds * 1000),
                        MAX_SPANS,
                        int(ending.is_unwritten),
                        *(
                            part
                            for pair in islice(ending.metrics.items(), MAX_SPANS)
                            for part in (pair[0], repr(pair[1]))
                        ),
                    ],
                )
            )

    def cancel(self, run: RunId) -> Literal["ended", "running", "idle"]:
        """Request a run's cancellation; `idle`: no step was running, and the run is now cancelled."""
        with broker_errors(self._url):
            answer: Literal["ended", "running", "idle"] = self._cancel(
                keys=[keys.run_key(run), keys.ACTIVE, *_sweep_keys(run.sweep)], args=[REMEMBER_ENDED_SECONDS, str(run)]
            )
            return answer

    def run(self, run: RunId) -> LiveRun | None:
        """What is known of a run, None when Redis knows nothing of it."""
        with broker_errors(self._url):
            fields = cast(dict[str, str], self._redis.hgetall(keys.run_key(run)))
            try:
                decoding.check_run_hash(fields)
            except GarbageError as error:
                self._redis.drop_key(keys.run_key(run), str(error))
                return None
        return live_run(fields) if fields.get("state") else None

    def due(self) -> list[tuple[RunId, str]]:
        """Steps whose retry is due or whose lease has expired, each at most once in 15 s."""
        with broker_errors(self._url):
            longest = [int(seconds * 1000) for seconds in (_MAX_LEASE_SECONDS, _MAX_DELAY_SECONDS)]
            args = [int(_PUT_OFF_SECONDS * 1000), _MAX_DUE, *longest]
            members = self._due(keys=[keys.LEASES, keys.RETRIES], args=args)
            due, garbage = decoding.readable(keys.RETRIES, members, decoding.run_and_step)
            if garbage:
                self._redis.zrem(keys.LEASES, *garbage)
                self._redis.zrem(keys.RETRIES, *garbage)
        return due

    def enqueue_later(self, run: RunId, step: str, seconds: float) -> None:
        """Make the reconciler enqueue the run after this time, unless it is already due to do so sooner."""
        with broker_errors(self._url):
            member, due = f"{run} {step}", int((self.time() + seconds) * 1000)
            self._redis.zadd(keys.RETRIES, {member: due}, lt=True)

    def forget_due(self, run: RunId, step: str) -> None:
        """Remove the step's lease and retry: it needs no further message."""
        member = f"{run} {step}"
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrem(keys.LEASES, member)
            pipe.zrem(keys.RETRIES, member)
            pipe.execute()

    def _thread_client(self) -> Redis:
        """A client whose connection this thread keeps: redis-py's pool takes a third of a command's time."""
        if not hasattr(self._own, "client"):
            self._own.client = type(self._redis)(
                connection_pool=self._redis.connection_pool, single_connection_client=True
            )
        client: Redis = self._own.client
        return client


def _sweep_keys(sweep: str) -> list[str]:
    return [keys.sweep_key(sweep), keys.flight_key(sweep), keys.causes_key(sweep), keys.SWEEPS]
