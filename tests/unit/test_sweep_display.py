"""The rows of `status`: name, state and age whole, and as much of the rest as a terminal holds."""

from __future__ import annotations

import io
import sys

import click
import pytest

from pipeline_queue.cli.sweep_display import print_rows
from pipeline_queue.contract.records import RunRecord, Scalar


def _run(index: int, metrics: dict[str, float], **parameters: Scalar) -> RunRecord:
    sweep = f"train-7k3m9q2{index}"
    return RunRecord(
        sweep=sweep, run=f"{sweep}.0", index=0, state="succeeded", parameters=parameters, steps=(), metrics=metrics,
        created_at=100.0,
    )  # fmt: skip


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _lines(width: int, monkeypatch: pytest.MonkeyPatch, *runs: RunRecord) -> list[str]:
    """The rows of these runs on a terminal of that width."""
    terminal = _Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", terminal)
    print_rows(runs, 110.0)
    return [click.unstyle(line) for line in terminal.getvalue().splitlines()[1:]]


def test_a_text_too_long_for_its_place_is_cut_and_a_number_never(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [_run(0, {}, text="a" * 39, n=1), _run(1, {}, text="b" * 39, n=1)]
    assert _lines(70, monkeypatch, *texts)[0].endswith(" ago  text=aaaaaaaaaaaaaaaaa… +1 more")
    numbers = [_run(0, {}, rate=1.234567890123e-5, n=1), _run(1, {}, rate=2.234567890123e-5, n=1)]
    assert _lines(60, monkeypatch, *numbers)[0].endswith(" ago  +2 more")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_row_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    metrics = {f"metric_{n}": n / 7 for n in range(24)}
    runs = [_run(n, metrics, text="狐" * (20 + n), word="x" * 100, rate=n / 3) for n in range(3)]
    for line, run in zip(_lines(width, monkeypatch, *runs), runs, strict=True):
        assert line.startswith(f"{run.run}  succeeded  10 s ago")
        assert len(line) + line.count("狐") <= max(width, len(f"{run.run}  succeeded  10 s ago"))
