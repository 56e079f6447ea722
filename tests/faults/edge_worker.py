"""A worker that kills or stops itself at given edges of the protocol: `python -m tests.faults.edge_worker worker …`."""

from __future__ import annotations

import fcntl
import functools
import importlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.faults.edge_names import ACTION, EDGES, HITS, NAMES, SPACING, TIMES, Edge

_MAX_COUNT = 4


class Edges:
    """Counts calls; at a drawn one this process ends or stops, unless others were there often enough already."""

    def __init__(self, folder: Path, action: str, times: int, spacing_seconds: float) -> None:
        self._folder = folder
        self._action = action
        self._times = times
        self._spacing_seconds = spacing_seconds
        self._chance = random.Random()
        self._left: dict[str, int] = {}
        self._spared = 0
        self._lock = threading.Lock()

    def meet(self, name: str) -> None:
        # Held to the end: who is spared from now on waits until it is decided.
        with self._lock:
            self._left[name] = self._left.get(name, self._chance.randint(1, _MAX_COUNT)) - 1
            if self._left[name] <= 0 and not self._spared and self._may(name):
                os.kill(os.getpid(), signal.SIGKILL if self._action == "kill" else signal.SIGSTOP)

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Nothing happens to this process in the block."""
        with self._lock:
            self._spared += 1
        try:
            yield
        finally:
            with self._lock:
                self._spared -= 1

    def _may(self, name: str) -> bool:
        """One at a time in the lab, and not too soon after another."""
        with (self._folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = list(self._folder.glob("[!.]*"))
            newest = max((path.stat().st_mtime for path in before), default=0.0)
            here = sum(path.name.rpartition(".")[0] == name for path in before)
            if here >= self._times or time.time() - newest < self._spacing_seconds:
                return False
            (self._folder / f"{name}.{here}").write_text(os.environ["FAULT_LAB_MACHINE"])
            return True


def install(edges: Edges, names: set[str]) -> None:
    """Raises AttributeError when the product has no such place any more: then EDGES is to be mended."""
    _spare_last_attempts(edges)
    for edge in EDGES:
        if edge.name in names:
            owner, attribute = find(edge)
            setattr(owner, attribute, _wrapped(getattr(owner, attribute), edge, edges))


def _spare_last_attempts(edges: Edges) -> None:
    """A third death of one step fails it, as promised: that is not what is tested here.

    From before it is known to be the third: another thread could end this process in between.
    """
    from pipeline_queue.index.run_index import RunIndex
    from workers.agents.lease_keeper import LeaseKeeper

    claim, keep = RunIndex.claim, LeaseKeeper.keep
    here = threading.local()

    @functools.wraps(claim)
    def claimed(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            stack.enter_context(edges.spared())
            result = claim(*args, **kwargs)
            if _begins_last_attempt(result):
                here.until_kept = stack.pop_all()
        return result

    @contextmanager
    def kept(self: Any, uid: str, lease: Any, *more: Any) -> Iterator[Any]:
        with edges.spared() if _begins_last_attempt(lease) else nullcontext(), ExitStack() as until_kept:
            until_kept.push(here.__dict__.pop("until_kept", nullcontext()))
            with keep(self, uid, lease, *more) as held:
                yield held

    RunIndex.claim = claimed  # type: ignore[method-assign]
    LeaseKeeper.keep = kept  # type: ignore[assignment, method-assign]


def _begins_last_attempt(result: Any) -> bool:
    from pipeline_queue.index.leases import MAX_DEATHS, Lease

    return isinstance(result, Lease) and result.attempt >= MAX_DEATHS


def find(edge: Edge) -> tuple[Any, str]:
    """The object and the name in it. Raises AttributeError when the product has no such place any more."""
    module, _, path = edge.place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, attribute = path.split(".")
    for name in classes:
        owner = getattr(owner, name)
    return owner, attribute


def _wrapped(call: Callable[..., Any], edge: Edge, edges: Edges) -> Callable[..., Any]:
    @functools.wraps(call)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        is_here = not edge.thread or threading.current_thread().name == edge.thread
        if is_here and edge.when == "before":
            edges.meet(edge.name)
        result = call(*args, **kwargs)
        if is_here and edge.when == "after" and not _begins_last_attempt(result):
            edges.meet(edge.name)
        return result

    return wrapper


if __name__ == "__main__":
    installed = Edges(Path(os.environ[HITS]), os.environ[ACTION], int(os.environ[TIMES]), float(os.environ[SPACING]))
    install(installed, set(os.environ[NAMES].split(",")))

    from workers.app import application

    application().start(sys.argv[1:])
