"""What is done to many runs at once comes in order, is bounded, and ends with its first error."""

from __future__ import annotations

import pytest

from pipeline_queue.storage.at_once import at_once


def test_results_come_in_order() -> None:
    assert list(at_once(str, range(1000))) == [str(number) for number in range(1000)]
    assert list(at_once(str, [])) == []


def test_no_more_is_taken_ahead_than_some_portions() -> None:
    taken = 0

    def numbers() -> object:
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield number

    results = at_once(str, numbers())  # type: ignore[arg-type]
    assert next(results) == "0"
    assert taken < 5000
    results.close()  # type: ignore[attr-defined]
    assert taken < 5000


def test_the_first_error_is_raised() -> None:
    def fail(number: int) -> int:
        if number >= 300:
            raise ValueError(str(number))
        return number

    results = at_once(fail, range(1000))
    with pytest.raises(ValueError, match="300"):
        list(results)
