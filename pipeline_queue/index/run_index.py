"""The live index of runs in Redis: the only reader and writer of it.

It can be lost at any time: the storage is the truth, and what is missing here is written again when
the run is enqueued next.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from pipeline_queue.broker.message import Message
from pipeline_queue.broker.signing import SigningKey, read_signing_key
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import MAX_SPANS
from pipeline_queue.contract.settings import Settings
from pipeline_queue.contract.states import RunState, StepState
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors, connect
from pipeline_queue.index.dead_letters import DeadLetters
from pipeline_queue.index.decoding import GarbageError
from pipeline_queue.index.scripts import script, script_beyond_memory
from pipeline_queue.index.sweep_index import SHARED_SECONDS, SweepIndex

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
MAX_DEATHS = 3
"""Infrastructure deaths of one step after which it is given up."""

_REMEMBER_SECONDS = 300
_REMEMBER_UNWRITTEN_SECONDS = 7 * 24 * 3600
_REMEMBER_FILLING_SECONDS = 24 * 3600
_WORKER_SECONDS = 15.0
_PUT_OFF_SECONDS = 15.0
_AVOIDED_SECONDS = 0.5
"""Until a step that a worker leaves to others is enqueued again."""
_MAX_LEASE_SECONDS = 4 * LEASE_SECONDS
_MAX_DELAY_SECONDS = 3600.0
"""A lease or retry that would take longer is due at once."""
_MAX_DUE = 200
_MAX_SENT = 200
"""How many messages go to Redis in one transaction."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The time-bound right to execute one attempt."""

    run: RunId
    step: str
    attempt: int
    token: str
    failures: int
    wants_more: bool = False
    """The claim began a run of a sweep that is to take more into its window."""
    leads: tuple[str, str] | None = None
    """Scope and name of the shared step that it executes."""
    handed_on: int = 0
    """How often it was left to another worker to say whether the step or its machine failed."""
    failed_on: tuple[str, ...] = ()
    """Workers (`name@host`) or hosts (`@host`) on which it failed, as far as they are to be avoided."""

    @classmethod
    def decided(cls, run: RunId, step: str) -> Lease:
        """Stands for no lease: records what the storage has decided already."""
        return cls(run, step, attempt=0, token="*", failures=0)  # noqa: S106 - no password


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a claim was not granted; `detail` is the worker, state or due time it depends on."""

    reason: Literal["published", "elsewhere", "cancelled", "ended", "waiting", "exhausted", "avoided"]
    detail: str = ""
    failed_on: tuple[str, ...] = ()
    """Of a step that this worker is to leave to others: where it failed; it is due again in a moment."""
    since_seconds: float | None = None
    """How long ago it was published or had ended, as far as the index says; 0 when only the index can say so."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, as the index keeps it."""

    step_state: StepState
    run_state: RunState
    seconds: float = 0.0
    exit_code: int | None = None
    message: str = ""
    failures: int = 0
    deaths: int = 0
    retry_seconds: float = 0.0
    cause: str = ""
    """What failures of a sweep are grouped by."""
    published: int = 0
    """How many of the run's first steps are published, 0 when this says nothing of it."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the whole run, when it has succeeded."""
    is_unwritten: bool = False
    """The storage does not say so, and could not be made to: only remembered here, for long."""
    handed_on: int = 0
    """1 when another worker is to say whether the step or this machine failed."""
    avoid: tuple[str, ...] = ()
    """Workers or hosts that leave the next attempt to others, for `avoid_seconds`."""
    avoid_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LiveStep:
    """One step as the index knows it."""

    state: StepState
    attempts: int
    seconds: float | None
    exit_code: int | None
    message: str
    worker: str
    started_at: float | None


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One run as the index knows it; times are Unix seconds by Redis' clock."""

    state: RunState
    cancelling: bool
    created_at: float | None
    started_at: float | None
    ended_at: float | None
    steps: dict[str, LiveStep]


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """One worker that was heard of in the last seconds."""

    name: str
    queues: tuple[str, ...]
    slots: int
    busy: int
    version: str
    clock_seconds: float
    storage_token: str = ""
    notes: tuple[str, ...] = field(default=())
    warm: WarmPython = field(default=WarmPython())
    holds: tuple[str, ...] = field(default=())
    """Why it takes no steps now."""


@dataclass(frozen=True, slots=True)
class Filling:
    """One making of a server complete: its run id, and a mark that is in it until it is emptied."""

    server: str
    mark: str


class RunIndex:
    """The live view of runs in Redis. Thread-safe; what talks to Redis raises BrokerError when that fails."""

    def __init__(self, broker_url: str, timeout_seconds: float = 5.0, signing_key: SigningKey | None = None) -> None:
        """`signing_key` signs what is sent through it."""
        self._url = broker_url
        self.signing_key = signing_key
        self._redis = connect(broker_url, timeout_seconds)
        self._own = threading.local()
        self.sweeps = SweepIndex(self._redis, broker_url)
        self.dead = DeadLetters(self._redis, broker_url)
        register = self._redis.register_script
        self._close = register(script("close_run"))
        self._claim = register(script("claim"))
        self._renew = register(script("renew"))
        self._renew_when_full = register(script_beyond_memory("renew"))
        self._record = register(script("record"))
        self._cancel = register(script("cancel_run"))
        self._due = register(script("due"))
        self._hold = register(script("hold"))
        self._let_go = register(script("let_go"))
        self._note_complete = register(script("note_complete"))

    @classmethod
    def of(cls, settings: Settings) -> RunIndex:
        """Raises SettingsError for a signing key that cannot be used."""
        file = settings.signing_key_file
        return cls(settings.broker_url, signing_key=read_signing_key(file) if file else None)

    def close(self) -> None:
        self._redis.close()

    def ping(self) -> dict[str, Any]:
        """Redis' own `INFO`, as doctor needs it."""
        with broker_errors(self._url):
            info: dict[str, Any] = self._redis.info()
            return info

    def configuration(self, name: str) -> str | None:
        """One `CONFIG GET`, None where the server does not tell."""
        from redis.exceptions import ResponseError

        with broker_errors(self._url):
            try:
                return self._redis.config_get(name).get(name)
            except ResponseError:
                return None

    def time(self) -> float:
        """Redis' clock in Unix seconds."""
        with broker_errors(self._url):
            seconds, micros = self._redis.time()
            return float(seconds) + float(micros) / 1e6

    def close_run(self, run: RunId, state: RunState) -> None:
        """Notes that a run has ended on the storage, when whoever ended it could not say so here."""
        with broker_errors(self._url):
            names = [keys.run_key(run), keys.ACTIVE, *_sweep_keys(run.sweep)]
            self._close(keys=names, args=[str(run), state, _REMEMBER_SECONDS])

    def forget_run(self, run: RunId) -> None:
        """Drops all that is known of a run that is not on the storage."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(keys.run_key(run))
            pipe.srem(keys.ACTIVE, str(run))
            pipe.execute()

    def active(self) -> int:
        """How many runs are in flight; at least one for every sweep that has not ended."""
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

        `holder` names this very claim, so that one whose answer was lost can be made again; `attempts` is how many
        the storage knows of, for when Redis has forgotten them; `leads` the shared step that it is for;
        `is_for_anybody`: also for a worker that was to leave it to others.
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
        if reply[0] == "run":
            number, token, failures, wants_more, handed_on, failed_on = reply[1:]
            places = tuple(failed_on.split("\n")) if failed_on else ()
            return Lease(run, step, int(number), token, int(failures), bool(wants_more), leads, int(handed_on), places)
        if reply[0] == "avoided":
            return Refusal("avoided", failed_on=tuple(reply[1].split("\n")))
        if reply[0] in ("published", "ended"):
            *detail, since = reply[1:]
            return Refusal(reply[0], " ".join(detail), since_seconds=float(since) / 1000 if since else None)
        return Refusal(reply[0], " ".join(str(part) for part in reply[1:]))

    def renew(self, leases: Sequence[Lease], worker: str = "") -> list[Literal["held", "cancelled", "lost"]]:
        """One answer for each lease, in order; a server that was emptied notes them again as this worker's."""
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
                # What runs goes on: only new work waits for memory.
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
        """False when the lease is another's by now; then nothing was written. `following` is sent in the same step."""
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
                        following.list if following else keys.LEASES,  # never an empty name, which no ACL user may
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
                        _REMEMBER_UNWRITTEN_SECONDS if ending.is_unwritten else _REMEMBER_SECONDS,
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
        """Asks for a run's end; `idle` says that no step was running and it is cancelled now."""
        with broker_errors(self._url):
            answer: Literal["ended", "running", "idle"] = self._cancel(
                keys=[keys.run_key(run), keys.ACTIVE, *_sweep_keys(run.sweep)], args=[_REMEMBER_SECONDS, str(run)]
            )
            return answer

    def run(self, run: RunId) -> LiveRun | None:
        """What is known of a run, None when Redis knows nothing of it."""
        with broker_errors(self._url):
            fields = cast(dict[str, str], self._redis.hgetall(keys.run_key(run)))
            try:
                decoding.check_run_hash(fields)
            except GarbageError as error:
                self._drop(keys.run_key(run), str(error))
                return None
        return _live_run(fields) if fields.get("state") else None

    def due(self) -> list[tuple[RunId, str]]:
        """Steps whose retry is due or whose lease ran out, each at most once in 15 s."""
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
        """Has the reconciler enqueue the run after this time, unless it is to do so sooner."""
        with broker_errors(self._url):
            member, due = f"{run} {step}", int((self.time() + seconds) * 1000)
            self._redis.zadd(keys.RETRIES, {member: due}, lt=True)

    def forget_due(self, run: RunId, step: str) -> None:
        """The step needs no message any more."""
        member = f"{run} {step}"
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrem(keys.LEASES, member)
            pipe.zrem(keys.RETRIES, member)
            pipe.execute()

    def hold_reconciler(self, holder: str, seconds: float) -> bool:
        """True while this holder is the one active reconciler."""
        with broker_errors(self._url):
            return bool(self._hold(keys=[keys.RECONCILER], args=[holder, int(seconds * 1000)]))

    def is_complete(self) -> bool:
        """Whether this server, since it was started, has been filled from the storage; not after it was emptied."""
        with broker_errors(self._url):
            return bool(self._redis.get(keys.SERVER) == self._server_id())

    def begin_filling(self) -> Filling:
        """Everything unfinished on the storage is about to be made known here."""
        with broker_errors(self._url):
            filling = Filling(self._server_id(), secrets.token_hex(8))
            self._redis.set(keys.filling_key(filling.mark), filling.server, ex=_REMEMBER_FILLING_SECONDS)
        return filling

    def note_complete(self, filling: Filling) -> bool:
        """Everything is known here now; False when the server was emptied or restarted meanwhile."""
        with broker_errors(self._url):
            names = [keys.filling_key(filling.mark), keys.SERVER]
            return bool(self._note_complete(keys=names, args=[filling.server]))

    def _server_id(self) -> str:
        """Another one for each start of the server: what it wrote last before it was killed may be gone."""
        return str(self._redis.info("server")["run_id"])

    def leave_reconciler(self, holder: str) -> None:
        """Another may be the active reconciler at once."""
        with broker_errors(self._url):
            self._let_go(keys=[keys.RECONCILER], args=[holder])

    def storage_token(self) -> str | None:
        """The token of the storage that belongs to this broker, None before the first use."""
        with broker_errors(self._url):
            token = cast("str | None", self._redis.get(keys.STORAGE))
            try:
                return token and decoding.storage_token(token)
            except GarbageError as error:
                self._drop(keys.STORAGE, str(error))
                return None

    def agree_on_storage(self, token: str, anew: bool = False) -> str:
        """The token of the broker's storage: this one if there was none, or if it is set `anew`."""
        with broker_errors(self._url):
            if self._redis.set(keys.STORAGE, token, nx=not anew):
                return token
        known = self.storage_token()
        return self.agree_on_storage(token, anew=True) if known is None else known

    def announce(self, name: str, facts: dict[str, Any]) -> None:
        """Says that a worker lives. `facts`: queues, slots, busy, version, clock_seconds, storage_token, notes,
        holds, warm."""
        with broker_errors(self._url):
            seconds, micros = self._redis.time()
            row = {**facts, "v": 1, "seen": seconds + micros / 1e6}
            self._redis.hset(keys.WORKERS, name, json.dumps(row))

    def withdraw(self, name: str) -> None:
        """Says that a worker leaves."""
        with broker_errors(self._url):
            self._redis.hdel(keys.WORKERS, name)

    def workers(self) -> list[LiveWorker]:
        """The workers heard of in the last 15 s, by name."""
        now = self.time()
        with broker_errors(self._url):
            found = cast(dict[str, str], self._redis.hgetall(keys.WORKERS))
            rows, garbage = decoding.readable(keys.WORKERS, sorted(found), lambda name: _worker(name, found[name], now))
            gone = [worker.name for seen, worker in rows if now - seen > 60 * _WORKER_SECONDS]
            if gone or garbage:
                self._redis.hdel(keys.WORKERS, *gone, *garbage)
        return [worker for seen, worker in rows if now - seen <= _WORKER_SECONDS]

    def _drop(self, key: str, reason: str) -> None:
        """Removes a key that holds nothing of ours. Raises what redis-py raises."""
        logger.warning("drop key=%s: %s", decoding.describe_key(key), reason)
        self._redis.drop_keys([key])

    def _thread_client(self) -> Redis:
        """With a connection that this thread keeps: redis-py's pool costs a third of a command."""
        if not hasattr(self._own, "client"):
            self._own.client = type(self._redis)(
                connection_pool=self._redis.connection_pool, single_connection_client=True
            )
        client: Redis = self._own.client
        return client


def _sweep_keys(sweep: str) -> list[str]:
    return [keys.sweep_key(sweep), keys.flight_key(sweep), keys.causes_key(sweep), keys.SWEEPS]


def _worker(name: str, text: str, now: float) -> tuple[float, LiveWorker]:
    """When it was seen last, and what it said of itself. Raises GarbageError."""
    row = decoding.json_row(text)
    if not decoding.is_text(name) or not name.isprintable():
        raise GarbageError("a worker's name is no text")
    seen = decoding.seconds_of(row, "seen")
    if seen > now + _WORKER_SECONDS:
        raise GarbageError("seen in the time to come")
    warm = row.get("warm") or {}
    if not isinstance(warm, dict):
        raise GarbageError("warm is no object")
    worker = LiveWorker(
        name=name,
        queues=decoding.texts_of(row, "queues"),
        slots=decoding.count_of(row, "slots"),
        busy=decoding.count_of(row, "busy"),
        version=decoding.text_of(row, "version"),
        clock_seconds=decoding.seconds_of(row, "clock_seconds") - seen,
        storage_token=decoding.text_of(row, "storage_token", ""),
        notes=decoding.texts_of(row, "notes", ()),
        warm=WarmPython.from_json({key: decoding.count_of(warm, key) for key in warm}),
        holds=decoding.texts_of(row, "holds", ()),
    )
    return seen, worker


def _live_run(fields: dict[str, str]) -> LiveRun:
    names = [name.removesuffix("|state") for name in fields if name.endswith("|state")]
    return LiveRun(
        state=fields["state"],  # type: ignore[arg-type]
        cancelling="cancel" in fields,
        created_at=_seconds(fields.get("created")),
        started_at=_seconds(fields.get("started")),
        ended_at=_seconds(fields.get("ended")),
        steps={name: _live_step(name, fields) for name in names},
    )


def _live_step(name: str, fields: dict[str, str]) -> LiveStep:
    seconds, exit_code = fields.get(f"{name}|seconds"), fields.get(f"{name}|exit")
    return LiveStep(
        state=fields[f"{name}|state"],  # type: ignore[arg-type]
        attempts=int(fields.get(f"{name}|attempts", 0)),
        seconds=float(seconds) if seconds else None,
        exit_code=int(exit_code) if exit_code else None,
        message=fields.get(f"{name}|message", ""),
        worker=fields.get(f"{name}|worker", ""),
        started_at=_seconds(fields.get(f"{name}|started")),
    )


def _seconds(milliseconds: str | None) -> float | None:
    return float(milliseconds) / 1000 if milliseconds else None
