"""Applies one action to many runs of a storage, several at a time: disks and servers are far slower than Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

_THREADS = 8
_PORTION = 64


def at_once(action: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """Yields the action's result for each item, in order. Several threads call the action.

    They work only a few batches ahead of the consumer, however many items there are. The first error is raised; after
    it, no further batch is started.
    """
    rest = iter(items)
    portions = iter(lambda: list(islice(rest, _PORTION)), [])

    def done(portion: Sequence[_T]) -> list[_R]:
        return [action(item) for item in portion]

    with ThreadPoolExecutor(_THREADS) as threads:
        ahead = deque(threads.submit(done, portion) for portion in islice(portions, 2 * _THREADS))
        try:
            while ahead:
                yield from ahead.popleft().result()
                ahead.extend(threads.submit(done, portion) for portion in islice(portions, 1))
        finally:
            for waiting in ahead:
                waiting.cancel()
