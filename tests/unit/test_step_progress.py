"""How far a sweep is, in steps."""

from __future__ import annotations

from pipeline_queue.planning.step_progress import StepTotals, executions_left, seconds_left

TOTALS = StepTotals({"prepare": 1, "train": 60, "evaluate": 60}, frozenset({"prepare"}))


def test_a_shared_step_counts_once() -> None:
    assert TOTALS.total == 121
    assert executions_left(TOTALS, 60, {0: 10}, {}) == {"prepare": 1, "train": 60, "evaluate": 60}
    assert executions_left(TOTALS, 60, {0: 2, 1: 8}, {"prepare": 1}) == {"prepare": 0, "train": 60, "evaluate": 60}


def test_published_steps_of_runs_in_flight_are_not_left() -> None:
    left = executions_left(TOTALS, 59, {1: 57, 2: 2}, {"prepare": 1})
    assert left == {"prepare": 0, "train": 57, "evaluate": 59}
    assert TOTALS.total - sum(left.values()) == 5


def test_nothing_is_left_of_runs_that_have_ended_whatever_they_came_to() -> None:
    assert executions_left(TOTALS, 0, {}, {}) == {"prepare": 0, "train": 0, "evaluate": 0}


def test_counts_that_come_apart_are_never_negative() -> None:
    assert executions_left(TOTALS, 1, {3: 5}, {"prepare": 7}) == {"prepare": 0, "train": 0, "evaluate": 0}


def test_the_time_left_is_a_range_between_what_most_took() -> None:
    span = seconds_left({"train": 4, "evaluate": 4}, {"train": (8.0, 12.0, 10.0), "evaluate": (1.0,)}, 4, 2)
    assert span is not None
    least, most = span
    assert 18 <= least < 22 < most <= 26


def test_a_single_run_has_one_step_at_a_time_whatever_slots_there_are() -> None:
    assert seconds_left({"train": 1, "evaluate": 1}, {"train": (5.0,), "evaluate": (2.0,)}, 1, 16) == (7.0, 7.0)


def test_nothing_is_said_of_the_time_before_every_step_that_is_left_was_seen() -> None:
    assert seconds_left({"train": 1, "evaluate": 1}, {"train": (5.0,)}, 1, 2) is None
    assert seconds_left({"train": 1}, {"train": (5.0,)}, 1, 0) is None
    assert seconds_left({"train": 0}, {"train": (5.0,)}, 0, 2) is None
