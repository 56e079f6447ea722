"""How many threads a step's libraries may use: the cores of the worker, shared among its slots."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.thread_bounds import quota_cpus, share_of_slot, thread_bounds


@pytest.mark.parametrize(
    ("cpus", "slots", "threads"), [(8, 2, 4), (8, 3, 2), (2, 2, 1), (2, 64, 1), (2.5, 1, 2), (0.5, 1, 1)]
)
def test_a_slot_gets_whole_cores_and_at_least_one(cpus: float, slots: int, threads: int) -> None:
    assert share_of_slot(cpus, slots) == threads


def test_the_smallest_quota_on_the_way_to_the_root_counts(tmp_path: Path) -> None:
    own = tmp_path / "outer" / "inner"
    own.mkdir(parents=True)
    (own / "cpu.max").write_text("max 100000\n")
    (own.parent / "cpu.max").write_text("150000 100000\n")
    assert quota_cpus("0::/outer/inner\n", tmp_path) == 1.5


@pytest.mark.parametrize("text", ["", "garbage", "0 0", "max 100000", "5"])
def test_without_a_quota_that_can_be_read_there_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert quota_cpus("0::/\n", tmp_path) is None
    assert quota_cpus("", tmp_path / "missing") is None


def test_an_own_variable_wins_and_omp_stands_for_the_others() -> None:
    assert thread_bounds(2, ["MKL_NUM_THREADS"]) == dict.fromkeys(
        ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"], "2"
    )
    assert thread_bounds(2, ["OMP_NUM_THREADS"]) == {}
    assert thread_bounds(0, []) == {}
