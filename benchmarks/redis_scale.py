"""What one Redis server carries, and how its load grows with the number of workers.

    python -m benchmarks.redis_scale [--seconds N] [--quick]

The first table sends each kind of call that a step makes as fast as Redis answers, many at once on one connection. The
second simulates workers of 10 slots (`benchmarks.fake_workers`) and reads how much of a core Redis uses. Redis executes
commands in one thread, so it is full at 100 % of a core.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cpu import tree_seconds
from benchmarks.fake_workers import QUEUE, Crew, work
from benchmarks.machine import describe
from benchmarks.side import BenchmarkError
from benchmarks.site import Site
from benchmarks.work import TRUE
from pipeline_queue.broker.message import list_of
from pipeline_queue.contract.ids import RunId
from pipeline_queue.index.leases import Ending, Lease, read_answer
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.planning.planner import messages
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.canvas import chain, following

_SLOTS = 10
_RUNS = 1_000_000
_AT_ONCE = 200
_RAMP_SECONDS = 3.0
_START_SECONDS = 1.0
"""That a process of fake workers needs to start."""
_PROCESSES = 4
_SIZES = ((1, 2.0), (10, 2.0), (30, 2.0), (100, 2.0), (1000, 60.0))
"""Workers, mean seconds of a step."""


class _Recorder:
    """Stands in for a client: keeps the commands that the index would send."""

    def __init__(self, reply: Any) -> None:
        self.commands: list[tuple[Any, ...]] = []
        self._reply = reply

    def evalsha(self, digest: str, keys: int, *parts: Any) -> Any:
        self.commands.append(("EVALSHA", digest, keys, *parts))
        return self._reply


@dataclass(frozen=True)
class _Rate:
    name: str
    calls_per_second: float
    cpu_share: float

    @property
    def micros(self) -> float:
        """Redis' processor time for one call."""
        return 1e6 * self.cpu_share / self.calls_per_second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="measure each number of workers for so long (15)")
    parser.add_argument("--quick", action="store_true", help="few calls and workers, to see that it works")
    options = parser.parse_args()
    seconds, calls = (3.0, 1_000) if options.quick else (options.seconds, 20_000)
    print(", ".join(f"{name} {value}" for name, value in describe().items()))
    rates = _carried(calls)
    print(f"{'call':34}{'calls/s':>10}{'Redis':>8}{'µs of Redis':>13}")
    for rate in rates:
        print(f"{rate.name:34}{rate.calls_per_second:10,.0f}{rate.cpu_share:8.0%}{rate.micros:13.1f}", flush=True)
    print("workers  slots  steps/s   Redis  µs a step  claim ms  late ms     MB   these workers")
    for workers, step_seconds in islice(_SIZES, 2) if options.quick else _SIZES:
        print(_simulated(workers, step_seconds, seconds), flush=True)
    return 0


@contextmanager
def _site() -> Iterator[tuple[Site, Sweep]]:
    """A server, and a sweep of a million runs that nobody executes."""
    folder = Path(tempfile.mkdtemp(prefix="pq-scale-"))
    try:
        with Site(folder / "site") as site:
            name = site.submit(site.client.load(TRUE.pipeline), f"learning_rate=linspace(0.1,0.9,{_RUNS})")
            yield site, Sweep.read(Storage(site.settings.storage), name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _carried(calls: int) -> list[_Rate]:
    """The calls that one Redis answers in a second, for each kind that a step makes."""
    with _site() as (site, sweep):
        index = RunIndex.of(site.settings)
        pipeline, runs = sweep.pipeline, [RunId(sweep.record.id, _RUNS - 1 - number) for number in range(calls)]
        first, *_ = pipeline.steps
        chains = [chain(pipeline, messages(pipeline, run, sweep.parameters(run))) for run in runs]
        entries = [one.encode() for one in chains]
        name = list_of(QUEUE, 9)
        site.redis.delete(name)
        sent = _rate(site, "send a run's first message", [("LPUSH", name, entry) for entry in entries])
        taken = _rate(site, "take a message", [("BRPOP", name, 1)] * calls)
        claims = _Recorder(["run", 1, "0", 0, 0, 0, ""])
        index._thread_client = lambda: claims  # type: ignore[method-assign, assignment, return-value]
        for number, run in enumerate(runs):
            index.claim(run, first.name, str(number), "fake@benchmark")
        replies: list[Any] = []
        claimed = _rate(site, "claim a step", claims.commands, replies)
        leases = [read_answer(run, first.name, None, reply) for run, reply in zip(runs, replies, strict=True)]
        held = [lease for lease in leases if isinstance(lease, Lease)]
        if len(held) < calls:
            raise BenchmarkError(f"{calls - len(held)} of {calls} claims were refused")
        renewals = _Recorder([])
        index._renew.registered_client = renewals  # type: ignore[assignment]
        for number in range(0, calls, _SLOTS):
            index.renew(held[number : number + _SLOTS], "fake@benchmark")
        renewed = _rate(site, f"renew {_SLOTS} leases", renewals.commands)
        records = _Recorder(1)
        index._thread_client = lambda: records  # type: ignore[method-assign, assignment, return-value]
        ending = Ending("succeeded", "running", 1.0, 0, published=1)
        for lease, message in zip(held, chains, strict=True):
            after = following(pipeline, message, sweep.parameters(lease.run), (first.name,), None)
            index.record(lease, ending, after)
        recorded = _rate(site, "record a step, send the next", records.commands)
        index.close()
    return [sent, taken, claimed, recorded, renewed]


def _rate(site: Site, name: str, commands: list[tuple[Any, ...]], replies: list[Any] | None = None) -> _Rate:
    """Sends the commands, many at once, so that Redis never waits for us; fills `replies`."""
    connection = site.redis.connection_pool.make_connection()
    connection.connect()
    batches = [
        b"".join(part for command in commands[start : start + _AT_ONCE] for part in connection.pack_command(*command))
        for start in range(0, len(commands), _AT_ONCE)
    ]
    _load_scripts(site)
    pending = 0
    cpu, began = _redis_cpu(site), time.monotonic()
    for number, batch in enumerate(batches):
        connection._sock.sendall(batch)
        pending += min(_AT_ONCE, len(commands) - number * _AT_ONCE)
        while pending > _AT_ONCE:
            _keep(connection.read_response(), replies)
            pending -= 1
    for _ in range(pending):
        _keep(connection.read_response(), replies)
    seconds, cpu = time.monotonic() - began, _redis_cpu(site) - cpu
    connection.disconnect()
    return _Rate(name, len(commands) / seconds, cpu / seconds)


def _keep(reply: Any, replies: list[Any] | None) -> None:
    if isinstance(reply, Exception):
        raise BenchmarkError(f"Redis refuses: {reply}")
    if replies is not None:
        replies.append(reply)


def _load_scripts(site: Site) -> None:
    index = RunIndex.of(site.settings)
    for script in (index._claim, index._record, index._renew):
        site.redis.script_load(script.script)
    index.close()


def _simulated(workers: int, step_seconds: float, seconds: float) -> str:
    with _site() as (site, sweep):
        each = -(-workers // min(workers, _PROCESSES))
        ramp = min(_RAMP_SECONDS + workers * _SLOTS / 500, 4 * seconds)
        firsts = range(0, workers, each)
        crews = [
            Crew(sweep.record.id, first, min(each, workers - first), _SLOTS, step_seconds, ramp, seconds)
            for first in firsts
        ]
        with ProcessPoolExecutor(len(crews), get_context("spawn")) as pool:
            doing = [pool.submit(work, site.settings, crew) for crew in crews]
            time.sleep(_START_SECONDS + ramp)
            cpu = _redis_cpu(site)
            time.sleep(seconds - _START_SECONDS)
            share = (_redis_cpu(site) - cpu) / (seconds - _START_SECONDS)
            figures = [one.result() for one in doing]
        memory = int(site.redis.info("memory")["used_memory"]) / 1e6
    steps = sum(one.steps for one in figures) / seconds
    claim = 1000 * median([second for one in figures for second in one.claims] or [0.0])
    late = 1000 * median([second for one in figures for second in one.late] or [0.0])
    own = sum(one.cpu_seconds for one in figures) / seconds
    return (
        f"{workers:7,}{workers * _SLOTS:7,}{steps:9,.0f}{share:8.1%}{1e6 * share / max(1.0, steps):11.0f}"
        f"{claim:10.2f}{late:9.1f}{memory:7.1f}{own:16.0%}"
    )


def _redis_cpu(site: Site) -> float:
    """Seconds of processor time that Redis has used."""
    return tree_seconds([site.server.process.pid])


if __name__ == "__main__":
    sys.exit(main())
