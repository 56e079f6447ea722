"""Timings of many rounds -> medians, ratios within a round, whether the aims were met, and a table to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.rounds import Rounds
from benchmarks.side import Timing
from benchmarks.work import STEPS_PER_RUN

AIMS = {"python train.py": 1.1, "/bin/true": 2.0}
"""Work -> how many times the hand-written chain's time ours may take."""

_OURS, _CHAIN, _FLOOR = "pipeline_queue", "celery chain", "xargs -P"


@dataclass(frozen=True, slots=True)
class Row:
    """One side on one work: medians over the rounds; ratios are medians of the ratios within each round."""

    work: str
    side: str
    steps_per_second: float
    ms_per_step: float
    fastest_ms: float
    slowest_ms: float
    cpu_ms_per_step: float
    submit_ms_per_run: float
    ratio_to_xargs: float
    ratio_to_chain: float


def rows(rounds: Rounds, runs: int) -> list[Row]:
    return [_row(work, side, sides, runs) for work, sides in rounds.items() for side in sides]


def verdicts(table: list[Row]) -> list[dict[str, Any]]:
    """For each work that has an aim: the aim, our ratio to the chain, and whether it was met."""
    return [
        {
            "work": row.work,
            "aim": AIMS[row.work],
            "ratio": row.ratio_to_chain,
            "met": row.ratio_to_chain <= AIMS[row.work],
        }
        for row in table
        if row.side == _OURS and row.work in AIMS
    ]


def as_text(table: list[Row], machine: dict[str, Any]) -> str:
    lines = ["", *(f"{name}: {value}" for name, value in machine.items()), ""]
    lines.append(
        f"{'work':16} {'side':15} {'steps/s':>8} {'ms/step':>8} {'fastest..slowest':>17} "
        f"{'CPU ms/step':>12} {'submit ms/run':>14} {'to xargs':>9} {'to chain':>9}"
    )
    for row in table:
        spread = f"{row.fastest_ms:.2f}..{row.slowest_ms:.2f}"
        lines.append(
            f"{row.work:16} {row.side:15} {row.steps_per_second:8.0f} {row.ms_per_step:8.2f} {spread:>17} "
            f"{row.cpu_ms_per_step:12.2f} {row.submit_ms_per_run:14.2f} {row.ratio_to_xargs:9.2f} "
            f"{row.ratio_to_chain:9.2f}"
        )
    lines.append("")
    for verdict in verdicts(table):
        met = "met" if verdict["met"] else "NOT met"
        lines.append(f"aim {verdict['work']}: at most {verdict['aim']} x the chain; {verdict['ratio']:.2f}: {met}")
    return "\n".join(lines)


def as_json(table: list[Row], rounds: Rounds, machine: dict[str, Any]) -> dict[str, Any]:
    return {
        "v": 1,
        "machine": machine,
        "rows": [asdict(row) for row in table],
        "aims": verdicts(table),
        "rounds": {
            work: {side: [asdict(timing) for timing in timings] for side, timings in sides.items()}
            for work, sides in rounds.items()
        },
    }


def _row(work: str, side: str, sides: dict[str, list[Timing]], runs: int) -> Row:
    steps = runs * STEPS_PER_RUN
    ms = [1000 * timing.seconds / steps for timing in sides[side]]
    return Row(
        work=work,
        side=side,
        steps_per_second=1000 / median(ms),
        ms_per_step=median(ms),
        fastest_ms=min(ms),
        slowest_ms=max(ms),
        cpu_ms_per_step=median(1000 * timing.cpu_seconds / steps for timing in sides[side]),
        submit_ms_per_run=median(1000 * timing.submit_seconds / runs for timing in sides[side]),
        ratio_to_xargs=median_ratio(sides[side], sides[_FLOOR]),
        ratio_to_chain=median_ratio(sides[side], sides[_CHAIN]),
    )


def median_ratio(mine: list[Timing], other: list[Timing]) -> float:
    """Of the ratios within each round: what slows the machine for a while slows both."""
    return median(one.seconds / two.seconds for one, two in zip(mine, other, strict=True))
