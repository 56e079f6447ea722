"""The benchmarks' checks go red when they should."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.figures import Aim, Figure, Outcome, above, as_text, at_most, exactly, is_met, under
from benchmarks.witness import Tally, Witness, tally


@pytest.mark.parametrize(
    ("executed", "expected"),
    [
        (["a", "b"], Tally(executed=2, lost=0, doubled=0, strange=0)),
        (["a"], Tally(executed=1, lost=1, doubled=0, strange=0)),
        (["a", "b", "b", "b"], Tally(executed=4, lost=0, doubled=2, strange=0)),
        (["a", "a"], Tally(executed=2, lost=1, doubled=1, strange=0)),
        (["a", "b", "c"], Tally(executed=3, lost=0, doubled=0, strange=1)),
        ([], Tally(executed=0, lost=2, doubled=0, strange=0)),
    ],
)
def test_a_tally_tells_lost_from_doubled(executed: list[str], expected: Tally) -> None:
    assert tally(Counter(executed), ["a", "b"]) == expected


def test_a_witness_counts_what_began_whatever_the_words(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness")
    assert witness.executed() == {}
    witness.path.write_text("7 begun prepare\n8 begun train 3\n8 ended train 3\n9 begun train 3\n")
    assert witness.executed() == {"prepare": 1, "train 3": 2}
    assert [mark.process for mark in witness.marks()] == [7, 8, 8, 9]


@pytest.mark.parametrize(
    ("aim", "met", "missed"),
    [(under(2), 1.99, 2), (at_most(2), 2, 2.01), (exactly(0), 0, 1), (above(0), 1, 0)],
)
def test_an_aim_is_met_or_missed(aim: Aim, met: float, missed: float) -> None:
    assert aim.is_met(met) and not aim.is_met(missed)


def test_a_missed_count_is_told_and_counts_at_any_size_a_missed_time_only_at_full() -> None:
    slow = Outcome("one", [Figure("seconds", 3, "s", under(2)), Figure("told only", 9)], 1.0)
    lossy = Outcome("two", [Figure("lost", 1, "", exactly(0))], 1.0)
    assert not is_met([slow]) and is_met([slow], counts_only=True)
    assert not is_met([lossy], counts_only=True)
    rows = as_text([slow, lossy, Outcome("three", [], 1.0, error="hung")], {}).splitlines()
    assert sum(" NO" in row for row in rows) == 3
    assert rows[-1].endswith("NOT measured: hung")
