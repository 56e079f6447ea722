"""The live index of sweeps in Redis: windows, counters and causes of failure. A part of the index."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.metric_spans import MetricSpan
from pipeline_queue.contract.states import ENDED
from pipeline_queue.index import decoding, keys
from pipeline_queue.index.connection import broker_errors
from pipeline_queue.index.decoding import GarbageError
from pipeline_queue.index.live_runs import REMEMBER_ENDED_SECONDS
from pipeline_queue.index.live_sweeps import Allotment, LiveProgress, LiveSweep, Opening, SweepState, live_sweep
from pipeline_queue.index.scripts import script
from pipeline_queue.index.shared_steps import SHARED_SECONDS, SharedSteps

if TYPE_CHECKING:
    from pipeline_queue.index.mending import MendingRedis

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_BATCH = 1000
_CANCELLED_AT_ONCE = 250
"""Runs per script call; the server is blocked for a few milliseconds meanwhile."""
_PAGE = 500


class SweepIndex:
    """Thread-safe; every method raises BrokerError when Redis is not there."""

    def __init__(self, redis: MendingRedis, broker_url: str) -> None:
        self._redis = redis
        self._url = broker_url
        self.shared = SharedSteps(redis, broker_url)
        self._open = redis.register_script(script("open_sweep"))
        self._allot = redis.register_script(script("allot"))
        self._restore = redis.register_script(script("restore_sweep"))
        self._reopen = redis.register_script(script("reopen"))
        self._drop = redis.register_script(script("drop_sweep"))
        self._cancel = redis.register_script(script("cancel_sweep"))
        self._cancel_runs = redis.register_script(script("cancel_runs"))
        self._end = redis.register_script(script("end_sweep"))
        self._begin = redis.register_script(script("begin_run"))
        self._turn = redis.register_script(script("turn_sweep"))
        self._untracked = redis.register_script(script("untracked"))
        self._progress = redis.register_script(script("progress"))
        self._retrying = redis.register_script(script("retrying"))

    def open(self, opening: Opening) -> bool:
        """Open a sweep; False if it is already known."""
        most = (opening.max_parallel, opening.max_failures)
        with broker_errors(self._url):
            return bool(
                self._open(
                    keys=[keys.sweep_key(opening.sweep), keys.SWEEPS],
                    args=[
                        opening.sweep,
                        opening.total,
                        *("" if one is None else one for one in most),
                        opening.state,
                        opening.cursor,
                        opening.succeeded,
                        opening.failed,
                        opening.cancelled,
                    ],
                )
            )

    def restore(self, opening: Opening, ended: Iterable[int]) -> bool:
        """Set a known sweep's cursor and counts to the storage's; False if the sweep is unknown or has ended.

        `ended`: indexes of the runs that have ended on the storage.
        """
        name = opening.sweep
        stale = self.in_flight(name) & frozenset(ended)
        with broker_errors(self._url):
            return bool(
                self._restore(
                    keys=[keys.sweep_key(name), keys.flight_key(name), keys.reopened_key(name), keys.runs_of(name)],
                    args=[opening.cursor, opening.succeeded, opening.failed, opening.cancelled, *sorted(stale)],
                )
            )

    def note_forgotten(self, sweep: str) -> None:
        """Record that the sweep was removed from the storage, so that its late messages are not errors."""
        with broker_errors(self._url):
            self._redis.set(keys.forgotten_key(sweep), "", ex=SHARED_SECONDS)

    def was_forgotten(self, sweep: str) -> bool:
        with broker_errors(self._url):
            return bool(self._redis.exists(keys.forgotten_key(sweep)))

    def note_submission(self, sweep: str, at: float) -> None:
        """Record that a submitter, which may die first, is about to commit and open it. `at`: by Redis' clock."""
        with broker_errors(self._url):
            self._redis.zadd(keys.SUBMITTED, {sweep: at})

    def forget_submission(self, sweep: str) -> None:
        """Forget the submission: the sweep was opened, or never committed."""
        with broker_errors(self._url):
            self._redis.zrem(keys.SUBMITTED, sweep)

    def submissions_before(self, at: float) -> list[str]:
        """Sweeps whose submission was recorded before `at` (Redis' clock) and that were not opened since."""
        with broker_errors(self._url):
            members = cast(list[str], self._redis.zrangebyscore(keys.SUBMITTED, "-inf", at))
            names, garbage = decoding.readable(keys.SUBMITTED, members, decoding.sweep_name)
            if garbage:
                self._redis.zrem(keys.SUBMITTED, *garbage)
        return names

    def allot(self, sweep: str, most_unstarted: int, most_in_flight: int, total: int | None = None) -> Allotment:
        """Take the sweep's next runs into its window; the caller enqueues them. Empty while enough are unstarted.

        `total`: how many runs the sweep has, in case the index has another number.
        """
        with broker_errors(self._url):
            again, *indexes = self._allot(
                keys=[
                    keys.sweep_key(sweep),
                    keys.flight_key(sweep),
                    keys.ACTIVE,
                    keys.runs_of(sweep),
                    keys.reopened_key(sweep),
                ],
                args=[sweep, most_unstarted, most_in_flight, "" if total is None else total],
            )
        runs = [RunId(sweep, int(index)) for index in indexes]
        return Allotment(again=tuple(runs[:again]), fresh=tuple(runs[again:]))

    def reopened(self, sweep: str, indexes: Mapping[int, str]) -> int:
        """Mark these runs to be allotted again, unless they are in the window; returns how many.

        The values are the state under which the sweep counts each run (`failed`, `cancelled`), or ''.
        """
        names = [
            keys.sweep_key(sweep),
            keys.flight_key(sweep),
            keys.reopened_key(sweep),
            keys.causes_key(sweep),
            keys.runs_of(sweep),
        ]
        added = 0
        with broker_errors(self._url):
            for some in _batches(indexes):
                pairs = [part for index in some for part in (index, indexes[index])]
                added += int(self._reopen(keys=names, args=pairs))
        return added

    def in_flight(self, sweep: str) -> frozenset[int]:
        """The indexes of the runs in the sweep's window."""
        with broker_errors(self._url):
            members = cast(list[str], self._redis.zrange(keys.flight_key(sweep), 0, -1))
            return frozenset(self._indexes(sweep, members))

    def ended(self, runs: Iterable[RunId]) -> list[RunId]:
        """Those of the runs that have ended by the index, without those whose end only the index knows."""
        asked = list(runs)
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            for run in asked:
                pipe.hmget(keys.run_key(run), "state", "unwritten")
            answers = pipe.execute()
        return [run for run, (state, here) in zip(asked, answers, strict=True) if state in ENDED and not here]

    def drop_ended(self, sweep: str, indexes: Iterable[int]) -> bool:
        """Delete an ended sweep and the given runs of it; False if it has not ended."""
        names = [
            keys.sweep_key(sweep),
            keys.flight_key(sweep),
            keys.reopened_key(sweep),
            keys.causes_key(sweep),
            keys.SWEEPS,
            keys.runs_of(sweep),
        ]
        with broker_errors(self._url):
            return all(
                self._drop(keys=names, args=[sweep, *some]) for some in (*_batches(indexes), [])
            )  # the sweep itself last

    def cancel(self, sweep: str) -> int:
        """Cancel the sweep, so that no run starts any more; returns how many runs workers have yet to end.

        If interrupted, it can be called again: workers end runs of a cancelled sweep that start meanwhile.
        """
        names = [
            keys.sweep_key(sweep),
            keys.flight_key(sweep),
            keys.causes_key(sweep),
            keys.SWEEPS,
            keys.ACTIVE,
            keys.runs_of(sweep),
        ]
        with broker_errors(self._url):
            if not self._cancel(keys=names[:1]):
                return 0
            busy = 0
            for some in _batches(self.in_flight(sweep), _CANCELLED_AT_ONCE):
                busy += int(self._cancel_runs(keys=names, args=[sweep, REMEMBER_ENDED_SECONDS, *some]))
            if busy == 0:
                self._end(keys=names[:1])
        return busy

    def end(self, sweep: str) -> None:
        """End a sweep whose runs have all ended on the storage."""
        with broker_errors(self._url):
            self._end(keys=[keys.sweep_key(sweep)])

    def pause(self, sweep: str) -> bool:
        """Pause the sweep; False if it is not running."""
        return self._turned(sweep, "running", "paused")

    def resume(self, sweep: str) -> bool:
        """Resume the sweep; False if it is not paused."""
        return self._turned(sweep, "paused", "running")

    def note_metrics(self, sweep: str, spans: Mapping[str, MetricSpan], measured: int) -> None:
        """Replace the sweep's metrics with the storage's, which cover `measured` succeeded runs."""
        fields = ["measured", str(measured), "metrics", str(len(spans))]
        for place, (name, span) in enumerate(spans.items()):
            fields += [f"metric|{name}", f"{span.as_text()} {place}"]
        with broker_errors(self._url):
            self._redis.hset(keys.sweep_key(sweep), items=fields)

    def release_held(self, sweep: str) -> list[RunId]:
        """The runs that were held while the sweep was paused; the caller enqueues them."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline()
            pipe.smembers(keys.held_key(sweep))
            pipe.delete(keys.held_key(sweep))
            members, _ = pipe.execute()
        indexes, _ = decoding.readable(keys.held_key(sweep), members, decoding.index_in_sweep)
        return [RunId(sweep, index) for index in sorted(indexes)]

    def note_published(self, published: Mapping[RunId, int]) -> None:
        """Record how many first steps of these runs in flight the storage has published."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            for run, count in published.items():
                pipe.hset(keys.run_key(run), "published", str(count))
            pipe.execute()

    def progress(self, sweep: str) -> LiveProgress:
        """The progress of the runs in flight."""
        names = [keys.runs_of(sweep)]
        published: dict[int, int] = {}
        retrying = 0
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrange(keys.flight_key(sweep), 0, -1)
            pipe.zrange(keys.RETRIES, 0, -1)
            flight, retries = pipe.execute()
            for some in _batches(flight):
                pairs = self._progress(keys=names, args=some)
                for count, runs in zip(pairs[::2], pairs[1::2], strict=True):
                    published[max(0, int(count))] = published.get(max(0, int(count)), 0) + int(runs)
            own = f"{sweep}."
            parts = (retry.removeprefix(own).partition(" ") for retry in retries if retry.startswith(own))
            for waiting in _batches((index, step) for index, _, step in parts):
                retrying += int(self._retrying(keys=names, args=[part for pair in waiting for part in pair]))
        return LiveProgress(retrying, published)

    def forget_ended(self, sweep: str) -> None:
        """Remove a sweep whose end is on the storage: the sweep monitor need not watch it any more."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline()
            pipe.srem(keys.SWEEPS, sweep)
            pipe.delete(keys.reopened_key(sweep), keys.held_key(sweep))
            pipe.execute()

    def note_unended(self, sweep: str) -> None:
        """Record that the sweep's end is not on the storage."""
        with broker_errors(self._url):
            self._redis.sadd(keys.SWEEPS, sweep)

    def unended(self) -> list[str]:
        """The sweeps that have not ended."""
        with broker_errors(self._url):
            members = cast(set[str], self._redis.smembers(keys.SWEEPS))
            names, garbage = decoding.readable(keys.SWEEPS, sorted(members), decoding.sweep_name)
            if garbage:
                self._redis.srem(keys.SWEEPS, *garbage)
        return names

    def begin(self, run: RunId) -> bool:
        """Count a parked run as begun, so that its sweep's window advances; True if the sweep should take more."""
        with broker_errors(self._url):
            names = [keys.run_key(run), keys.sweep_key(run.sweep), keys.flight_key(run.sweep)]
            return bool(self._begin(keys=names, args=[str(run)]))

    def has_work(self) -> bool:
        """Whether any run is in flight or any sweep has more to start."""
        with broker_errors(self._url):
            if self._redis.scard(keys.ACTIVE):
                return True
            pipe = self._redis.pipeline(transaction=False)
            for sweep in self.unended():
                pipe.hget(keys.sweep_key(sweep), "ended")
            return None in pipe.execute()

    def untracked(self, sweep: str, steps: Iterable[str], seconds: float, most: int) -> list[RunId]:
        """Runs in flight without a lease or a pending retry: each is being enqueued, in the queue, or lost.

        Checks each run at most once in `seconds`, and not in the first `seconds` after its allotment.
        """
        with broker_errors(self._url):
            names = [keys.flight_key(sweep), keys.LEASES, keys.RETRIES, keys.sweep_key(sweep), keys.runs_of(sweep)]
            recounted, *members = self._untracked(keys=names, args=[sweep, int(seconds * 1000), most, *steps])
            if recounted:
                logger.warning("recount sweep=%s: the counts of runs in flight were wrong", sweep)
            return [RunId(sweep, index) for index in self._indexes(sweep, members)]

    def queued_messages(self, name: str) -> Iterator[str]:
        """The messages in a Redis list. Misses none that stays there, because new ones are added at its head."""
        first = 0
        while True:
            with broker_errors(self._url):
                page = cast(list[str], self._redis.lrange(name, first, first + _PAGE - 1))
            yield from page
            if len(page) < _PAGE:
                return
            first += _PAGE

    def read(self, sweep: str) -> LiveSweep | None:
        """What is known of a sweep, None when Redis knows nothing of it."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(keys.sweep_key(sweep))
            pipe.hgetall(keys.causes_key(sweep))
            pipe.zrange(keys.flight_key(sweep), 0, 0, withscores=True)
            pipe.time()
            pipe.zrange(keys.LEASES, 0, -1)
            # Members instead of their number: the documented ACL rules allow only these commands.
            pipe.smembers(keys.held_key(sweep))
            pipe.hgetall(keys.leaders_key(sweep))
            pipe.hgetall(keys.leaders_key(keys.EVERY_SWEEP))
            fields, causes, longest, (seconds, micros), leases, held, shared, reused = pipe.execute()
            waiting = self.shared.count_waiting(sweep, shared, reused) if shared or reused else {}
        if not fields:
            return None
        try:
            decoding.check_sweep_hash(fields)
        except GarbageError as error:
            self.forget(sweep, str(error))
            return None
        return live_sweep(
            fields,
            causes,
            now=seconds + micros / 1e6,
            executing=sum(lease.startswith(f"{sweep}.") for lease in leases),
            held=len(held),
            waiting=waiting,
            longest_since=longest[0][1] / 1000 if longest else None,
        )

    def leave_flight(self, run: RunId) -> None:
        """Remove a run that does not belong to its sweep."""
        with broker_errors(self._url):
            self._redis.zrem(keys.flight_key(run.sweep), str(run.index))

    def forget(self, sweep: str, why: str) -> None:
        """Drop a sweep's index, counts and window; the sweep monitor restores it from the storage."""
        logger.warning("drop index of sweep=%s: %s", sweep, why)
        with broker_errors(self._url):
            self._redis.drop_keys([keys.sweep_key(sweep)])

    def _indexes(self, sweep: str, members: Iterable[str]) -> list[int]:
        """The run indexes among the members of the flight set; removes other members."""
        indexes, garbage = decoding.readable(keys.flight_key(sweep), members, decoding.index_in_sweep)
        if garbage:
            self._redis.zrem(keys.flight_key(sweep), *garbage)
        return indexes

    def _turned(self, sweep: str, before: SweepState, after: SweepState) -> bool:
        with broker_errors(self._url):
            return bool(self._turn(keys=[keys.sweep_key(sweep)], args=[before, after]))


def _batches(items: Iterable[_T], size: int = _BATCH) -> Iterator[list[_T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
