"""What the pages cost: a sweep of 100,000 ended runs, a list of 10,000 sweeps, and 50 browsers that watch one run.

    python -m benchmarks.dashboard [--runs N] [--sweeps N] [--turns N] [--keep DIR] [--quick]

A real Flower process answers over HTTP; what it shows is fabricated, except for the watched sweep, which a real worker
executes. `--keep` leaves the fabricated storage in DIR and uses one that is there. Exit code 0 when the aims were
met, 1 when not, 2 when something failed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal
from urllib.parse import quote

from benchmarks.cpu import tree_seconds
from benchmarks.figures import Figure, Outcome, as_text, is_met, under
from benchmarks.machine import compile_bytecode, describe
from benchmarks.progress import say
from benchmarks.side import BenchmarkError, log_end, stop_process, wait_until
from benchmarks.site import Site
from pipeline_queue.contract.records import RunRecord, StepSummary, SweepEnd
from pipeline_queue.contract.settings import FLOWER_SOCKET
from pipeline_queue.contract.states import FailureGroup
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.sweep import SweepRequest, build_space
from pipeline_queue.local.server import die_with_parent
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.submission import prepare_sweep

_WATCHERS = 50
_SLOTS = 2
_TURN_SECONDS = 10.0
_SETTLE_SECONDS = 2.0
_TIMES = 5
_LIMIT_SECONDS = 600.0
_FIRST = under(1.0)
_TABLE_SECONDS = 0.3
_MEGABYTES = 400.0
_COMMANDS_PER_SECOND = 50.0
_LOST_PERCENT = 5.0

_BIG = """\
pipeline:
  name: big
  parameters:
    - {name: lr, type: float}
    - {name: optimizer, type: string}
    - {name: epochs, type: integer, default: 20}
    - {name: dataset, type: string, default: cifar10}
    - {name: note, type: string, default: none}
  steps:
    - train: {run: /bin/true}
  sweep: {unused: allow}
"""
_SMALL = """\
pipeline:
  name: small
  parameters:
    - {name: lr, type: float}
  steps:
    - train: {run: /bin/true}
  sweep: {unused: allow}
"""
_WATCHED = """\
pipeline:
  name: watched
  parameters:
    - {name: lr, type: float}
  steps:
    - train: {run: [sleep, "0.05"], reuse: never}
  sweep: {unused: allow}
"""


@dataclass(frozen=True)
class Flower:
    """One process, and what it answers."""

    port: int
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> tuple[float, Any]:
        """Seconds, and what the JSON says (of a page: nothing). Raises BenchmarkError."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_LIMIT_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        seconds = time.monotonic() - began
        if answer.status != 200:
            raise BenchmarkError(f"{path}: {answer.status} {data[:500]!r}")
        return seconds, json.loads(data) if "json" in answer.headers.get("Content-Type", "") else None

    def seconds(self, *paths: str) -> float:
        """Median of asking for all of them one after the other."""
        return median(sum(self.get(path)[0] for path in paths) for _ in range(_TIMES))

    def megabytes(self, what: str) -> float:
        """`VmRSS` or `VmHWM` of the process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def main() -> int:
    options = _options()
    runs, sweeps = (2_000, 100) if options.quick else (options.runs, options.sweeps)
    turns, turn_seconds = (1, 3.0) if options.quick else (options.turns, _TURN_SECONDS)
    compile_bytecode()
    folder = Path(tempfile.mkdtemp(prefix="pq-dashboard-"))
    outcomes = []
    try:
        with Site(folder / "site") as site:
            storage, big = _fabricated(site, options.keep or folder / "kept", runs, sweeps)
            live, site.settings = site.settings, replace(site.settings, storage=storage)
            for name, figures in (("sweep", _big_sweep(site, big)), ("list", _list(site))):
                outcomes.append(Outcome(name, list(figures), 0.0))
            site.settings = live
            outcomes.append(Outcome("watching", _watching(site, folder, turns, turn_seconds), 0.0))
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(as_text(outcomes, describe()))
    return 0 if is_met(outcomes) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, help="of the large sweep (100,000)")
    parser.add_argument("--sweeps", type=int, default=10_000, help="small ones in the list (10,000)")
    parser.add_argument("--turns", type=int, default=5, help="with and without watchers (5)")
    parser.add_argument("--keep", type=Path, help="where the fabricated storage stays")
    parser.add_argument("--quick", action="store_true", help="2,000 runs, 100 sweeps, one turn: to see that it works")
    return parser.parse_args()


def _fabricated(site: Site, folder: Path, runs: int, sweeps: int) -> tuple[Path, str]:
    """The storage, and the id of the large sweep."""
    done, storage = folder / f"done-{runs}-{sweeps}", folder / f"storage-{runs}-{sweeps}"
    if not done.exists():
        shutil.rmtree(storage, ignore_errors=True)
        for name, text in (("big", _BIG), ("small", _SMALL)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "pipeline.yaml").write_text(text)
        say(f"fabricating {runs:,} runs and {sweeps:,} sweeps")
        opened = Storage.open(storage)
        pipeline = site.client.load(folder / "big" / "pipeline.yaml")
        values = (f"lr=linspace(0.001,0.9,{runs // 4})", "optimizer=sgd,adam,lion,rmsprop")
        (big,) = _end_at_once(opened, pipeline, values, 1)
        pipeline = site.client.load(folder / "small" / "pipeline.yaml")
        _end_at_once(opened, pipeline, ("lr=0.1",), sweeps // 2)
        _end_at_once(opened, pipeline, ("lr=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8",), sweeps - sweeps // 2)
        done.write_text(big)
    return storage, done.read_text()


def _end_at_once(storage: Storage, pipeline: LoadedPipeline, texts: tuple[str, ...], count: int) -> list[str]:
    """So many sweeps of these values, of whose runs nothing but their ends was written: what the pages read."""
    submission, names = prepare_sweep(pipeline, build_space(pipeline, SweepRequest(texts=texts)), "", None), []
    with submission.snapshot:
        for _ in range(count):
            sweep = submission.commit(storage)
            names.append(sweep.record.id)
            failed = sum(_write_end(storage, sweep, index) for index in range(len(sweep.space)))
            if len(sweep.space) > 1:
                storage.end_sweep(_end_of(sweep, failed))
    return names


def _write_end(storage: Storage, sweep: Sweep, index: int) -> bool:
    """Whether the run failed."""
    run, failed, now = sweep.run_id(index), index % 10 == 7, time.time()
    paths = sweep.paths(storage, run)
    state: Literal["failed", "succeeded"] = "failed" if failed else "succeeded"
    record = RunRecord(
        sweep=run.sweep,
        run=str(run),
        index=index,
        state=state,
        parameters=sweep.parameters(run),
        steps=(StepSummary(name="train", state=state, attempts=1, exit_code=int(failed), seconds=0.01 + index / 1e6),),
        metrics={} if failed else {"loss": float(f"0.{index}"), "accuracy": float(index)},
        message=f"step train failed with exit code 1: the loss is nan after {index} epochs" if failed else "",
        created_at=sweep.record.created_at,
        started_at=now - 0.01,
        ended_at=now,
    )
    Path(paths.where()).mkdir(parents=True)
    Path(paths.where("run.json")).write_text(record.model_dump_json())
    return failed


def _end_of(sweep: Sweep, failed: int) -> SweepEnd:
    total, name = len(sweep.space), sweep.record.id
    failures = (FailureGroup("the loss is nan after # epochs", failed, f"{name}.7"),) if failed else ()
    return SweepEnd(
        sweep=name,
        state="failed" if failed else "succeeded",
        total=total,
        counts={"succeeded": total - failed, "failed": failed, "cancelled": 0},
        created_at=sweep.record.created_at,
        ended_at=time.time(),
        failures=failures,
    )


@contextmanager
def _flower(site: Site) -> Iterator[Flower]:
    """Open to everybody on this machine; it has just begun to answer."""
    log = site.folder / "flower.log"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        port, descriptor = int(listener.getsockname()[1]), listener.fileno()
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "workers", "flower"],
                env={**site.environment(), FLOWER_SOCKET: str(descriptor)},
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=die_with_parent,
            )
    flower = Flower(port, process)
    try:
        wait_until("Flower answers", lambda: _answers(flower, log))
        yield flower
    finally:
        stop_process(process)


def _answers(flower: Flower, log: Path) -> bool:
    if flower.process.poll() is not None:
        raise BenchmarkError(f"Flower ended:\n{log_end(log)}")
    try:
        return flower.get("/healthcheck")[0] > 0
    except OSError:
        return False


def _big_sweep(site: Site, sweep: str) -> Iterator[Figure]:
    page, detail, runs = f"/sweeps/{sweep}", f"/api/sweeps/{sweep}", f"/api/sweeps/{sweep}/runs?limit=100"
    with _flower(site) as flower:
        yield Figure("memory before", flower.megabytes("VmRSS"), "MB")
        yield Figure("its page, right after the start", flower.get(page)[0] + flower.get(detail)[0], "s", _FIRST)
        yield Figure("its first rows, right after the start", flower.get(runs)[0], "s", _FIRST)
        began, slowest = time.monotonic(), 0.0
        while flower.get(runs)[1]["reading"] is not None:
            slowest = max(slowest, flower.get(page)[0] + flower.get(detail)[0])
            time.sleep(0.2)
        yield Figure("until every row is read", time.monotonic() - began, "s")
        yield Figure("its page meanwhile, the slowest", slowest, "s", _FIRST)
        yield Figure("memory", flower.megabytes("VmRSS"), "MB", under(_MEGABYTES))
        yield Figure("the page", flower.seconds(page, detail), "s", _FIRST)
        where = quote("accuracy > 500 and optimizer = adam")
        tables = {
            "by index": "",
            "by a metric": "&sort=-accuracy",
            "by two columns": "&sort=optimizer,-lr",
            "where": f"&where={where}",
            "where, by a metric": f"&where={where}&sort=-accuracy",
        }
        for name, asked in tables.items():
            yield Figure(f"table {name}, the first time", flower.get(runs + asked)[0], "s", under(_TABLE_SECONDS))
        yield Figure("table by a metric, again", flower.seconds(f"{runs}&sort=-accuracy"), "s", under(_TABLE_SECONDS))
        yield Figure("a later page", flower.get(f"{runs}&sort=-accuracy&offset=50000")[0], "s", under(_TABLE_SECONDS))
        yield Figure("plot, the first time", flower.get(f"{detail}/plot")[0], "s")
        yield Figure("plot, again", flower.seconds(f"{detail}/plot"), "s")
        yield Figure("most memory", flower.megabytes("VmHWM"), "MB", under(_MEGABYTES))


def _list(site: Site) -> Iterator[Figure]:
    with _flower(site) as flower:
        yield Figure(
            "the list, right after the start", flower.get("/sweeps")[0] + flower.get("/api/sweeps")[0], "s", _FIRST
        )
        began, slowest, answer = time.monotonic(), 0.0, {"read": 0, "total": 1}
        while answer["read"] < answer["total"]:
            time.sleep(0.2)
            seconds, answer = flower.get("/api/sweeps")
            slowest = max(slowest, seconds)
        yield Figure("until the state of each is known", time.monotonic() - began, "s")
        yield Figure("the list meanwhile, the slowest", slowest, "s", _FIRST)
        yield Figure("the list", flower.seconds("/api/sweeps"), "s", under(_TABLE_SECONDS))
        yield Figure("its last page", flower.seconds(f"/api/sweeps?offset={answer['total'] - 50}"), "s", _FIRST)
        yield Figure("a search", flower.seconds("/api/sweeps?search=small"), "s", under(_TABLE_SECONDS))
        yield Figure("a search for few", flower.seconds("/api/sweeps?search=big"), "s", under(_TABLE_SECONDS))
        yield Figure("by state", flower.seconds("/api/sweeps?state=failed"), "s", under(_TABLE_SECONDS))
        yield Figure("most memory", flower.megabytes("VmHWM"), "MB", under(_MEGABYTES))


@dataclass(frozen=True, slots=True)
class _Turn:
    """Per second of one turn; `asked`: commands of Flower's own connections."""

    steps: float
    commands: float
    asked: float
    cpu: float


def _watching(site: Site, folder: Path, turns: int, seconds: float) -> list[Figure]:
    """With watchers and without, in turns."""
    (folder / "watched").mkdir()
    (folder / "watched" / "pipeline.yaml").write_text(_WATCHED)
    site.start_workers(1, slots=_SLOTS)
    sweep = site.submit(site.client.load(folder / "watched" / "pipeline.yaml"), "lr=linspace(0.1,0.9,100000)")
    site.wait_for_runs(sweep, 50, _LIMIT_SECONDS)
    others = set(_commands_of(site))
    found: dict[bool, list[_Turn]] = {True: [], False: []}
    with _flower(site) as flower:
        for turn in range(turns):
            for is_watched in (True, False) if turn % 2 else (False, True):
                watchers = [_Watcher(flower.port, sweep) for _ in range(_WATCHERS if is_watched else 0)]
                time.sleep(_SETTLE_SECONDS)
                one = _turn(site, flower, sweep, others, seconds)
                found[is_watched].append(one)
                say(f"turn {turn} {'watched' if is_watched else 'alone':8}{one}")
                events = [watcher.stop() for watcher in watchers]
                if is_watched and min(events) < 2:
                    raise BenchmarkError(f"a watcher saw only {min(events)} events")
        memory = flower.megabytes("VmHWM")
    site.client.cancel_sweep(sweep)
    lost = median(100 * (1 - with_.steps / none.steps) for with_, none in zip(found[True], found[False], strict=True))
    asked = median(with_.asked - none.asked for with_, none in zip(found[True], found[False], strict=True))
    return [
        Figure("steps per second, nobody watches", median(one.steps for one in found[False]), "/s"),
        Figure(f"fewer when {_WATCHERS} watch", lost, "%", under(_LOST_PERCENT)),
        Figure("Redis commands per second of all, nobody watches", median(one.commands for one in found[False]), "/s"),
        Figure("Flower's own Redis commands, nobody watches", median(one.asked for one in found[False]), "/s"),
        Figure(f"more of them when {_WATCHERS} watch", asked, "/s", under(_COMMANDS_PER_SECOND)),
        Figure("Flower's share of a core, nobody watches", 100 * median(one.cpu for one in found[False]), "%"),
        Figure(f"when {_WATCHERS} watch", 100 * median(one.cpu for one in found[True]), "%"),
        Figure("most memory", memory, "MB", under(_MEGABYTES)),
    ]


def _turn(site: Site, flower: Flower, sweep: str, others: set[str], seconds: float) -> _Turn:
    def now() -> tuple[float, int, int, int, float]:
        asked = sum(count for name, count in _commands_of(site).items() if name not in others)
        total = int(site.redis.info("stats")["total_commands_processed"])
        cpu = tree_seconds([flower.process.pid])
        return time.monotonic(), site.client.sweep(sweep).done, total, asked, cpu

    before = now()
    time.sleep(seconds)
    took, *rest = (after - then for after, then in zip(now(), before, strict=True))
    return _Turn(*(one / took for one in rest))


def _commands_of(site: Site) -> dict[str, int]:
    """Connection -> the commands that came by it."""
    return {str(one["id"]): int(one["tot-cmds"]) for one in site.redis.client_list()}


class _Watcher:
    """An event stream of the sweep's page, read in a thread."""

    def __init__(self, port: int, sweep: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(f"GET /api/events?topic=sweep:{sweep} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self._events = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while data := self._socket.recv(1 << 16):
            self._events += data.count(b"event: state")

    def stop(self) -> int:
        """How many events came."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        return self._events


if __name__ == "__main__":
    sys.exit(main())
