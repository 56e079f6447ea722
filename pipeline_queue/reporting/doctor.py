"""What can be wrong with broker, storage and workers, looked at one by one."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pipeline_queue import __version__
from pipeline_queue.broker.signing import read_signing_key
from pipeline_queue.contract.errors import PipelineQueueError, SettingsError, StorageError
from pipeline_queue.contract.settings import DEFAULT_KEEP_TOTAL_BYTES, Settings, without_password
from pipeline_queue.contract.wording import counted, size_text
from pipeline_queue.index.dead_letters import DeadLetter
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.storage.access import describe_denied, is_denied
from pipeline_queue.storage.disk import is_full
from pipeline_queue.storage.storage import Storage

_PACKAGES = ("celery", "redis", "kombu", "flower", "pydantic", "pyyaml")
_CLOCK_SECONDS = 5.0
_DEAD_SHOWN = 3
_SWEEPS_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `fail` keeps runs from working, `warn` may cost something later.

    `figures`: the numbers in `detail` that are rounded there, by name and unit.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    figures: Mapping[str, int] = field(default_factory=dict)


def examine(
    settings: Settings | None, storage: Path, embedded: bool, adopt: bool = False, writes: bool = True
) -> list[Check]:
    """Every check that applies; `settings` None: no broker is configured and no service runs.

    `adopt`: this storage is to be the broker's from now on. `writes`: whether who asks must be able to write there.
    """
    checks = [*_versions(), *_storage(storage, writes), *_kept(storage, settings)]
    if settings is None:
        return [*checks, Check("broker", "ok", "none configured; `run` starts an embedded server if needed")]
    run_index = RunIndex(settings.broker_url, timeout_seconds=3.0)
    try:
        started = time.time()
        clock = run_index.time()
        info = run_index.ping()
        checks.append(_broker(settings, info))
        checks += _keeping(run_index, info, embedded)
        checks.append(_clock("clock", clock - (started + time.time()) / 2, "this machine and the broker"))
        checks += _belonging(run_index, storage, adopt)
        checks += _workers(run_index)
        checks += [_dead(run_index), *_signing(settings)]
    except PipelineQueueError as error:
        checks.append(Check("broker", "fail", str(error)))
    finally:
        run_index.close()
    return checks


def _versions() -> Iterator[Check]:
    packages = " ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield Check("versions", "ok", f"pipeline-queue {__version__}, Python {platform.python_version()}, {packages}")
    if sys.dont_write_bytecode:
        yield Check("bytecode", "warn", "PYTHONDONTWRITEBYTECODE is set: steps may import packages twice as slowly")


def _storage(root: Path, writes: bool) -> Iterator[Check]:
    storage = Storage(root)
    try:
        if storage.is_new():
            yield Check("storage", "ok", f"{root} does not exist yet; the first submission creates it")
            return
        storage.token()
        if writes:
            storage.try_to_write()
            storage.check_access(_SWEEPS_LOOKED_AT)
        room = storage.room()
        yield Check("storage", "ok", f"{root} is {'writable' if writes else 'readable'} ({room})", room.figures())
    except StorageError as error:
        yield Check("storage", "fail", str(error))
    except OSError as error:
        if is_denied(error):
            yield Check("storage", "fail", describe_denied(root, root))
            return
        figures = f" ({storage.room()})" if is_full(error) else ""
        yield Check("storage", "fail", f"{root} cannot be written: {error.strerror}{figures}")


def _kept(root: Path, settings: Settings | None) -> Iterator[Check]:
    """What failed attempts left there; nothing where none is kept, or that cannot be seen."""
    try:
        total = Storage(root).kept_total()
    except OSError:
        return
    if total.attempts:
        limit_bytes = settings.keep_total_bytes if settings else DEFAULT_KEEP_TOTAL_BYTES
        of = counted(total.attempts, "failed attempt")
        most = f"at most {size_text(limit_bytes)}; the oldest are removed first"
        figures = {"kept_bytes": total.size_bytes, "kept_attempts": total.attempts, "limit_bytes": limit_bytes}
        yield Check("kept files", "ok", f"{size_text(total.size_bytes)} of {of} ({most})", figures)


def _belonging(run_index: RunIndex, root: Path, adopt: bool) -> Iterator[Check]:
    """Whether this storage is the one that the broker's runs are in."""
    try:
        if adopt:
            storage = Storage.open(root)
            run_index.server.agree_on_storage(storage.token(), anew=True)
            yield Check("storage of the broker", "ok", f"now {root} ({storage.token()})")
            return
        expected = run_index.server.storage_token()
        if expected is not None:
            Storage(root).check(expected)
            yield Check("storage of the broker", "ok", f"this storage ({expected})")
    except StorageError as error:
        yield Check("storage of the broker", "fail", str(error))


def _broker(settings: Settings, info: dict[str, object]) -> Check:
    name = info.get("server_name") or "redis"
    shown = info.get(f"{name}_version") or info.get("redis_version")
    return Check("broker", "ok", f"{without_password(settings.broker_url)} answers ({name} {shown})")


def _keeping(run_index: RunIndex, info: dict[str, object], embedded: bool) -> Iterator[Check]:
    policy = run_index.configuration("maxmemory-policy") or str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        yield Check("eviction", "ok", "maxmemory-policy is noeviction")
    elif policy == "unknown":
        yield Check("eviction", "warn", "the server does not report its maxmemory-policy; it must be noeviction")
    else:
        yield Check("eviction", "fail", f"maxmemory-policy is {policy}: queues may be deleted; set noeviction")
    if embedded:
        yield Check(
            "persistence", "ok", "the embedded server keeps nothing on disk; a new one is filled from the storage"
        )
    elif info.get("aof_enabled"):
        yield Check("persistence", "ok", "the append-only file is on")
    else:
        yield Check(
            "persistence",
            "warn",
            "the append-only file is off, so a restart of Redis loses what is queued; set appendonly yes",
        )


def _clock(name: str, seconds: float, between: str) -> Check:
    state: Literal["ok", "warn"] = "ok" if abs(seconds) < _CLOCK_SECONDS else "warn"
    return Check(name, state, f"{abs(seconds):.1f} s apart ({between}; only displayed times depend on it)")


def _workers(run_index: RunIndex) -> Iterator[Check]:
    workers = run_index.workers.live()
    if not workers:
        yield Check("workers", "warn", "none running; start one with `pipeline-queue worker`")
        return
    queues: dict[str, int] = {}
    for worker in workers:
        for queue in worker.queues:
            queues[queue] = queues.get(queue, 0) + 1
        busy = f"{worker.busy} of {counted(worker.slots, 'slot')} busy, queues {', '.join(worker.queues)}"
        same = worker.version == __version__
        detail = f"{busy}, version {worker.version}" + ("" if same else f" (this is {__version__})")
        yield Check(f"worker {worker.name}", "ok" if same else "warn", detail)
        if worker.warm.forked or worker.warm.cold:
            warm = {"shared_bytes": worker.warm.shared_bytes}
            yield Check(f"worker {worker.name}", "ok", f"warm Python: {worker.warm}", warm)
        if worker.idle.folders:
            yield Check(f"worker {worker.name}", "ok", str(worker.idle), worker.idle.as_json())
        for hold in worker.holds:
            yield Check(f"worker {worker.name}", "warn", f"takes no steps: {hold}")
        for note in worker.notes:
            yield Check(f"worker {worker.name}", "warn", note)
        if abs(worker.clock_seconds) >= _CLOCK_SECONDS:
            yield _clock(f"worker {worker.name}", worker.clock_seconds, "its clock and the broker's")
    served = ", ".join(f"{queue} by {counted(count, 'worker')}" for queue, count in sorted(queues.items()))
    yield Check("queues", "ok", f"served: {served}")


def shown_dead(dead: DeadLetter) -> str:
    """A refused message on one line; its texts are printable."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(dead.at))
    return f"{when} queue {dead.queue}, worker {dead.worker}, {size_text(dead.size_bytes)}: {dead.reason}"


def _dead(run_index: RunIndex) -> Check:
    count = run_index.dead.count()
    if not count:
        return Check("dead messages", "ok", "none")
    latest = "; ".join(shown_dead(dead) for dead in run_index.dead.latest(_DEAD_SHOWN))
    how = "`doctor --dead` shows them, `doctor --clear-dead` deletes them"
    return Check("dead messages", "warn", f"{counted(count, 'rejected message')} kept: {how}. The latest: {latest}")


def _signing(settings: Settings) -> Iterator[Check]:
    if settings.signing_key_file is None:
        return
    try:
        read_signing_key(settings.signing_key_file)
        yield Check("signing", "ok", f"messages are signed with the key in {settings.signing_key_file}")
    except SettingsError as error:
        yield Check("signing", "fail", str(error))
