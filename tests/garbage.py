"""Puts what we never write into our own keys of Redis: other types, and bad entries of the right one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from pipeline_queue.broker.message import lists_of
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index import keys

BAD_ENTRIES: tuple[bytes, ...] = (
    b"", b"\xff\xfe\x00", b"-1", b"-17", b"1.5", b"1e400", b"nan", b"inf", b"0x10", b"99999999999999999999", b"ten",
    b"../../../etc/passwd", b"a/b.0", b"train-00000000", b"train-00000000.7 one", b"train-00000000.-3", b"x y z",
    b"{", b"null", b"[]", b'{"v": 1}', b'{"v": 1, "seen": "never"}', b'{"v": 1, "seen": 1e308, "queues": 3}', b"[" * 20000,
    b"\x1b[2J\x1b]0;taken\x07", b"\xe2\x80\xae\xc2\x9b31m", b"y" * 1_000_000,
)  # fmt: skip
_SCORES = (float("inf"), float("-inf"), -5.0, 0.0, 1e300, 1.5)

PLAIN_KEYS: dict[str, str] = {
    keys.LEASES: "zset", keys.RETRIES: "zset", keys.ACTIVE: "set", keys.TOKEN: "string", keys.WORKERS: "hash",
    keys.RECONCILER: "string", keys.SERVER: "string", keys.SWEEPS: "set", keys.SUBMITTED: "zset", keys.DEAD: "list",
}  # fmt: skip
"""Key -> its type, for those that are there whatever runs. The storage's token is a user's word and not among them."""

QUEUE_KEYS = dict.fromkeys(lists_of("default"), "list")
SHARED_KEYS = {keys.leaders_key(keys.EVERY_SWEEP): "hash"}


def keys_of_sweep(sweep: str, runs: int, shared: Sequence[str] = ()) -> dict[str, str]:
    """Key -> its type, for all that there is of a sweep; `shared`: names of steps that runs have in common."""
    return {
        keys.sweep_key(sweep): "hash",
        keys.flight_key(sweep): "zset",
        keys.reopened_key(sweep): "string",
        keys.held_key(sweep): "set",
        keys.causes_key(sweep): "hash",
        keys.leaders_key(sweep): "hash",
        keys.shared_failures_key(sweep): "hash",
        **{keys.parked_key(sweep, name): "set" for name in shared},
        **{keys.run_key(RunId(sweep, index)): "hash" for index in range(runs)},
    }


def plant_wrong_type(redis: Redis, key: str, kind: str, chance: random.Random) -> str:
    """The key is of another type than ours; what was done, in words."""
    other = chance.choice([one for one in _WRITERS if one != kind])
    redis.delete(key)
    _WRITERS[other](redis, key, chance.choice(BAD_ENTRIES[1:]), chance)
    return f"{key} is a {other}"


def plant_bad_entry(redis: Redis, key: str, kind: str, chance: random.Random) -> str:
    """Something in the key is bad; what was done, in words. `redis` gives bytes."""
    bad = chance.choice(BAD_ENTRIES)
    with suppress(ResponseError):  # it is of another type by now
        _WRITERS[kind](redis, key, bad, chance)
    return f"{key} holds {bad[:40]!r}"


def _write_hash(redis: Redis, key: str, bad: bytes, chance: random.Random) -> None:
    fields = sorted(redis.hkeys(key))
    name = chance.choice(fields) if fields and chance.random() < 0.8 else chance.choice(BAD_ENTRIES)
    redis.hset(key, name, bad)


def _write_zset(redis: Redis, key: str, bad: bytes, chance: random.Random) -> None:
    members: list[Any] = redis.zrange(key, 0, -1)
    if members and chance.random() < 0.4:
        bad = chance.choice(members)
    redis.zadd(key, {bad: chance.choice(_SCORES)})


_WRITERS: dict[str, Callable[[Redis, str, bytes, random.Random], object]] = {
    "string": lambda redis, key, bad, _: redis.set(key, bad),
    "list": lambda redis, key, bad, _: redis.lpush(key, bad),
    "set": lambda redis, key, bad, _: redis.sadd(key, bad),
    "hash": _write_hash,
    "zset": _write_zset,
}
