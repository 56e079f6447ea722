"""One measured figure, the aim it is held against, and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Aim:
    """`holds` says how the figure relates to `value` when the aim is met."""

    holds: Literal["under", "at most", "exactly", "above"]
    value: float

    def is_met(self, figure: float) -> bool:
        return {
            "under": figure < self.value,
            "at most": figure <= self.value,
            "exactly": figure == self.value,
            "above": figure > self.value,
        }[self.holds]


def under(value: float) -> Aim:
    return Aim("under", value)


def at_most(value: float) -> Aim:
    return Aim("at most", value)


def exactly(value: float) -> Aim:
    return Aim("exactly", value)


def above(value: float) -> Aim:
    return Aim("above", value)


@dataclass(frozen=True, slots=True)
class Figure:
    """`aim` None: told, not judged. `note` is what one must know to read it."""

    what: str
    value: float
    unit: str = ""
    aim: Aim | None = None
    note: str = ""

    @property
    def is_met(self) -> bool:
        return self.aim is None or self.aim.is_met(self.value)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scenario; `error` says why it has no figures."""

    scenario: str
    figures: Sequence[Figure]
    seconds: float
    error: str = ""


def is_met(outcomes: Sequence[Outcome], counts_only: bool = False) -> bool:
    """Whether every aim was met; `counts_only`: of those that hold at any size and speed."""
    return all(
        figure.is_met
        for outcome in outcomes
        for figure in outcome.figures
        if not counts_only or (figure.aim is not None and figure.aim.holds == "exactly")
    )


def as_text(outcomes: Sequence[Outcome], facts: Mapping[str, Any]) -> str:
    lines = ["", *(f"{name}: {value}" for name, value in facts.items()), ""]
    lines.append(f"{'scenario':11} {'what':54} {'figure':>15} {'aim':>17}  met")
    lines += [row for outcome in outcomes for row in rows(outcome)]
    return "\n".join(lines)


def rows(outcome: Outcome) -> list[str]:
    """The lines of one scenario."""
    lines = []
    for figure in outcome.figures:
        aim = f"{figure.aim.holds} {_shown(figure.aim.value)}" if figure.aim else ""
        met = "" if figure.aim is None else "yes" if figure.is_met else "NO"
        value = f"{_shown(figure.value)} {figure.unit}".rstrip()
        row = f"{outcome.scenario:11} {figure.what:54} {value:>15} {aim:>17}  {met:3}"
        lines.append(f"{row}  {figure.note}".rstrip())
    if outcome.error:
        lines.append(f"{outcome.scenario:11} NOT measured: {outcome.error}")
    return lines


def as_json(outcomes: Sequence[Outcome], facts: Mapping[str, Any]) -> dict[str, Any]:
    scenarios = [
        {**asdict(outcome), "figures": [{**asdict(figure), "met": figure.is_met} for figure in outcome.figures]}
        for outcome in outcomes
    ]
    return {"v": 1, "machine": dict(facts), "scenarios": scenarios}


def _shown(value: float) -> str:
    """Whole numbers whole, others with what matters of them."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
