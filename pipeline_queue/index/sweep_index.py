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
"""Runs for which the server, a few milliseconds, does nothing else."""
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
        """Makes a sweep known; False when it was."""
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
        """Gives a known sweep the cursor and counts of the storage; False when it is not known, or has ended.

        `ended`: the runs that have ended there.
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
        """It is removed from the storage, and what may still come of it is nobody's fault."""
        with broker_errors(self._url):
            self._redis.set(keys.forgotten_key(sweep), "", ex=SHARED_SECONDS)

    def was_forgotten(self, sweep: str) -> bool:
        with broker_errors(self._url):
            return bool(self._redis.exists(keys.forgotten_key(sweep)))

    def note_submission(self, sweep: str, at: float) -> None:
        """The sweep is about to be committed and opened, unless whoever does is lost in between. `at`: Redis' clock."""
        with broker_errors(self._url):
            self._redis.zadd(keys.SUBMITTED, {sweep: at})

    def forget_submission(self, sweep: str) -> None:
        """It is opened, or was never committed."""
        with broker_errors(self._url):
            self._redis.zrem(keys.SUBMITTED, sweep)

    def submissions_before(self, at: float) -> list[str]:
        """Sweeps noted before that time, of Redis' clock, and not opened since."""
        with broker_errors(self._url):
            members = cast(list[str], self._redis.zrangebyscore(keys.SUBMITTED, "-inf", at))
            names, garbage = decoding.readable(keys.SUBMITTED, members, decoding.sweep_name)
            if garbage:
                self._redis.zrem(keys.SUBMITTED, *garbage)
        return names

    def allot(self, sweep: str, most_unstarted: int, most_in_flight: int, total: int | None = None) -> Allotment:
        """Takes the sweep's next runs into its window: the caller enqueues them. Empty while there are enough.

        `total`: how many runs the sweep has, for when the index says something else.
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
        """Has these runs taken into the window again, unless they are in it; how many.

        The values say as what the sweep counts each (`failed`, `cancelled`), or '' where it does not.
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
        """Those of the runs that have ended as far as this knows, and not here alone."""
        asked = list(runs)
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            for run in asked:
                pipe.hmget(keys.run_key(run), "state", "unwritten")
            answers = pipe.execute()
        return [run for run, (state, here) in zip(asked, answers, strict=True) if state in ENDED and not here]

    def drop_ended(self, sweep: str, indexes: Iterable[int]) -> bool:
        """Forgets a sweep that has ended, and these of its runs; False when it has not ended."""
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
        """Nothing of the sweep starts any more; how many runs a worker has yet to end.

        Stopped half-way it can be called again: workers end what of a cancelled sweep is started meanwhile.
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
        """All of the sweep's runs have ended on the storage."""
        with broker_errors(self._url):
            self._end(keys=[keys.sweep_key(sweep)])

    def pause(self, sweep: str) -> bool:
        """False when the sweep is not running."""
        return self._turned(sweep, "running", "paused")

    def resume(self, sweep: str) -> bool:
        """False when the sweep is not paused."""
        return self._turned(sweep, "paused", "running")

    def note_metrics(self, sweep: str, spans: Mapping[str, MetricSpan], measured: int) -> None:
        """What the storage has of so many succeeded runs, in place of what is known."""
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
        """How many of their first steps the storage has, of runs in flight."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline(transaction=False)
            for run, count in published.items():
                pipe.hset(keys.run_key(run), "published", str(count))
            pipe.execute()

    def progress(self, sweep: str) -> LiveProgress:
        """How far the runs in flight are."""
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
        """Its end is on the storage: the sweep needs no more looking after."""
        with broker_errors(self._url):
            pipe = self._redis.pipeline()
            pipe.srem(keys.SWEEPS, sweep)
            pipe.delete(keys.reopened_key(sweep), keys.held_key(sweep))
            pipe.execute()

    def note_unended(self, sweep: str) -> None:
        """Its end is not on the storage."""
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
        """Counts a parked run as begun, so that its sweep's window goes on; True when there is more to start."""
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
        """Runs in flight without a lease or a retry that waits: each is being enqueued, in the queue, or lost.

        Each is asked about at most once in `seconds`, and not in the first after its allotment.
        """
        with broker_errors(self._url):
            names = [keys.flight_key(sweep), keys.LEASES, keys.RETRIES, keys.sweep_key(sweep), keys.runs_of(sweep)]
            recounted, *members = self._untracked(keys=names, args=[sweep, int(seconds * 1000), most, *steps])
            if recounted:
                logger.warning("recount sweep=%s: what was counted as in flight was not", sweep)
            return [RunId(sweep, index) for index in self._indexes(sweep, members)]

    def queued_messages(self, name: str) -> Iterator[str]:
        """The messages that lie in a Redis list. None that stays there is missed: they come at its head only."""
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
            # Lists of members instead of their number: the documented rules of users allow these commands alone.
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
        """It is no run of its sweep."""
        with broker_errors(self._url):
            self._redis.zrem(keys.flight_key(run.sweep), str(run.index))

    def forget(self, sweep: str, why: str) -> None:
        """Drops what is counted of a sweep here: whoever looks after it restores it from the storage."""
        logger.warning("drop index of sweep=%s: %s", sweep, why)
        with broker_errors(self._url):
            self._redis.drop_keys([keys.sweep_key(sweep)])

    def _indexes(self, sweep: str, members: Iterable[str]) -> list[int]:
        """Those of runs among the members of what is in flight; others are removed."""
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
