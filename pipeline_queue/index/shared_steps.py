"""Leaders and parked runs: which run executes a step that several runs share, and which runs wait for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from pipeline_queue.contract.ids import RunId
from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors
from pipeline_queue.index.scripts import script

if TYPE_CHECKING:
    from redis import Redis

SHARED_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Joined:
    """`detail`: the run that leads, or why the step failed."""

    answer: Literal["lead", "parked", "failed"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a run waits for: the leader's execution of a shared step; without a step, the resuming of its sweep."""

    step: str = ""
    leader: str = ""


class SharedSteps:
    """Thread-safe; every method raises BrokerError when Redis is not there."""

    def __init__(self, redis: Redis, broker_url: str) -> None:
        self._redis = redis
        self._url = broker_url
        self._join = redis.register_script(script("join_shared_step"))
        self._release = redis.register_script(script("release_shared_step"))

    def join(self, run: RunId, step: str, shared: str, scope: str) -> Joined:
        """Whether this run executes the shared step, waits for the one that does, or shares its failure.

        `scope`: the sweep whose runs share it, or `keys.EVERY_SWEEP`.
        """
        names = [
            keys.leaders_key(scope),
            keys.parked_key(scope, shared),
            keys.RUNS,
            keys.shared_failures_key(run.sweep),
        ]
        with broker_errors(self._url):
            answer = self._join(keys=names, args=[str(run), step, shared, SHARED_SECONDS])
        return Joined(*answer)

    def forget(self, sweep: str) -> None:
        """Forget the sweep's failures and leaders, so that failed shared steps are executed again."""
        with broker_errors(self._url):
            self._redis.delete(keys.shared_failures_key(sweep), keys.leaders_key(sweep))
            leaders = cast(dict[str, str], self._redis.hgetall(keys.leaders_key(keys.EVERY_SWEEP)))
            own = [shared for shared, run in leaders.items() if run.rpartition(".")[0] == sweep]
            if own:
                self._redis.hdel(keys.leaders_key(keys.EVERY_SWEEP), *own)

    def wait_of(self, run: RunId) -> Wait | None:
        """What a begun run waits for; None when a worker may execute it."""
        scopes = (run.sweep, keys.EVERY_SWEEP)
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.smembers(keys.held_key(run.sweep))
            for scope in scopes:
                pipe.hgetall(keys.leaders_key(scope))
            held, *led = pipe.execute()
            if str(run.index) in held:
                return Wait()
            shared = [(scope, *pair) for scope, leaders in zip(scopes, led, strict=True) for pair in leaders.items()]
            for scope, name, _ in shared:
                pipe.smembers(keys.parked_key(scope, name))
            for (_, name, leader), parked in zip(shared, pipe.execute(), strict=True):
                if str(run) in parked:
                    return Wait(name.rpartition("-")[0], leader)
        return None

    def release(self, sweep: str, shared: str, scope: str, failure: str = "") -> list[RunId]:
        """Release the runs parked for a shared step; the caller enqueues them. A `failure` applies to the sweep."""
        names = [keys.leaders_key(scope), keys.parked_key(scope, shared), keys.shared_failures_key(sweep)]
        with broker_errors(self._url):
            members = self._release(keys=names, args=[shared, failure, SHARED_SECONDS])
        return decoding.readable(keys.parked_key(scope, shared), members, decoding.run_name)[0]

    def count_waiting(self, sweep: str, shared: Iterable[str], reused: Iterable[str]) -> dict[str, int]:
        """Shared step -> number of the sweep's runs that wait for it. All sweeps share the keys of `reused` steps.

        Raises what redis-py raises.
        """
        pipe = self._redis.pipeline(transaction=False)
        for name in shared:
            pipe.smembers(keys.parked_key(sweep, name))
        for name in reused:
            pipe.smembers(keys.parked_key(keys.EVERY_SWEEP, name))
        waiting: dict[str, int] = {}
        for name, parked in zip([*shared, *reused], pipe.execute(), strict=True):
            runs = [run for run in parked if run.startswith(f"{sweep}.")]
            step = name.rpartition("-")[0]
            if runs and decoding.is_text(step) and step.isprintable():
                waiting[step] = waiting.get(step, 0) + len(runs)
        return waiting
