"""A Redis client that drops a key which cannot be ours and retries the command: the index can be rebuilt.

A key of the wrong type, or a hash with text in a numeric field, makes every command and script that uses it fail until
it is deleted. The index is disposable: the next message, the sweep monitor or the recovery of a flushed server writes
the dropped data again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from pipeline_queue.index import keys
from pipeline_queue.index.decoding import GarbageError, check_run_hash, check_sweep_hash, describe_key
from pipeline_queue.index.scripts import script

logger = logging.getLogger(__name__)

_MAX_DROPPED_KEYS = 8
"""Per command; no script uses more keys at a time."""
_WRONG_TYPE = "wrong type"
_NAMED = re.compile(r"GARBAGE (TYPE|NUMBER) (\S+)")
"""The errors in which our scripts name the key at fault."""
_LUA_FAULTS = ("attempt to ", "bad argument #", "number has no integer representation")


class MendingRedis(Redis):
    """redis-py's client and pipelines, which drop garbage and retry."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        for _ in range(_MAX_DROPPED_KEYS):
            try:
                return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except ResponseError as error:
                if not self.drop_garbage(args, error):
                    raise
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        made = _MendingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.mender = self
        return made

    def drop_garbage(self, command: Sequence[Any], error: Exception) -> bool:
        """Drop the garbage that made the command fail. True if there was any; then the command is worth a retry."""
        found = self._garbage(command, str(error))
        for key, reason in found.items():
            if reason == _WRONG_TYPE and not self._drop_wrong_type(key):
                continue  # another client was faster, and the key may hold our data again
            self.drop_key(key, reason)
        return bool(found)

    def drop_key(self, key: str, reason: str) -> None:
        """Delete a key that does not hold our data, and log it."""
        logger.warning("drop key=%s: %s", describe_key(key), reason)
        self.drop_keys([key])

    def _drop_wrong_type(self, key: str) -> bool:
        run = super().execute_command
        loaded = run("SCRIPT LOAD", script("drop_wrong_type"))  # type: ignore[no-untyped-call]
        return bool(run("EVALSHA", loaded, 1, key, *keys.probe_of(key)))  # type: ignore[no-untyped-call]

    def drop_keys(self, garbage: Iterable[str]) -> None:
        """Delete keys, and the parts of the index that are useless without them."""
        dropped = {one for key in garbage for one in keys.dropped_with(key)}
        if dropped:
            super().execute_command("DEL", *sorted(dropped))  # type: ignore[no-untyped-call]

    def _garbage(self, command: Sequence[Any], text: str) -> dict[str, str]:
        """Key -> what is wrong with it."""
        named = _NAMED.search(text)
        if named is not None:
            return {named[2]: _WRONG_TYPE if named[1] == "TYPE" else "no number that it can be"}
        if text.startswith("WRONGTYPE") and len(command) > 1:
            return {_text(command[1]): _WRONG_TYPE}
        if str(command[0]).startswith("EVAL") and any(fault in text for fault in _LUA_FAULTS):
            return self._unreadable(_text(key) for key in command[3 : 3 + int(command[2])])
        return {}

    def _unreadable(self, names: Iterable[str]) -> dict[str, str]:
        """Of a failed script's keys, those whose content cannot be ours -> what is wrong with it."""
        found: dict[str, str] = {}
        for key in names:
            check = check_run_hash if keys.is_run_hash(key) else check_sweep_hash if keys.is_sweep_hash(key) else None
            if check is None:
                continue
            fields = super().execute_command("HGETALL", key)  # type: ignore[no-untyped-call]
            try:
                if fields:
                    check(fields)
            except GarbageError as error:
                found[key] = str(error)
        return found


class _MendingPipeline(Pipeline):
    mender: MendingRedis

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands = list(self.command_stack)
        results = super().execute(raise_on_error=False)
        for position, (result, (args, options)) in enumerate(zip(results, commands, strict=False)):
            if isinstance(result, ResponseError) and str(result).startswith("WRONGTYPE"):
                # Retry this command alone: an earlier one may already have dropped the key.
                results[position] = self.mender.execute_command(*args, **options)
            elif isinstance(result, Exception) and raise_on_error:
                raise result
        return results


def _text(key: Any) -> str:
    return key.decode(errors="surrogateescape") if isinstance(key, bytes) else str(key)
