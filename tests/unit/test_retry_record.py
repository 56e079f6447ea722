"""`retry.json` keeps the runs that are done again as ranges, and gives the same runs back."""

from __future__ import annotations

import random

import pytest

from pipeline_queue.contract.records import RetryRecord


@pytest.mark.parametrize(
    ("indexes", "ranges"),
    [([], ()), ([4], ((4, 4),)), ([3, 1, 2], ((1, 3),)), ([0, 2, 3, 9], ((0, 0), (2, 3), (9, 9)))],
)
def test_indexes_become_ranges(indexes: list[int], ranges: tuple[tuple[int, int], ...]) -> None:
    assert RetryRecord.of(indexes).ranges == ranges


def test_any_set_of_runs_comes_back_from_the_file() -> None:
    for seed in range(50):
        chosen = set(random.Random(seed).sample(range(200), seed * 3))
        record = RetryRecord.of(chosen)
        assert RetryRecord.model_validate_json(record.model_dump_json()).indexes() == chosen
