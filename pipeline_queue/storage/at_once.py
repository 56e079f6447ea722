"""Does the same to many runs of a storage, several at a time: a disk or a server takes far longer than Python does."""

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
    """What the action gives for each item, in order; it is called by several threads.

    No more than some portions are ahead of what is taken, however many items there are. The first error is raised, and
    then nothing more is begun.
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
