"""A scenario as a value, what is asked of it, and the row that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from tests.faults.actions import UNDO
from tests.faults.checker import Findings, check
from tests.faults.lab import Lab, Plan
from tests.faults.logs import keep_when_done
from tests.faults.look import Look
from tests.faults.pipeline.step import STEPS
from tests.faults.play import Played, Work, play
from tests.faults.products import Ours, Product
from tests.faults.schedule import Schedule
from tests.faults.warmth import were_forked

MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """What a scenario asks for beside zero lost, wrong and twice; None: nothing."""

    recovery_seconds: float | None = 30.0
    standstill_seconds: float | None = None
    after_seconds: float | None = None
    extra_share: float | None = None
    exits: int | None = None
    all_faults: bool = False
    """Whether every fault that was planned must have been played before the work was done."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one scenario ended. `red`: a promise was broken; `short`: only a limit was missed."""

    name: str
    product: str
    seed: int
    size: str
    verdict: str
    reasons: list[str] = field(default_factory=list)
    lost: int = 0
    wrong: int = 0
    twice: int = 0
    executions: int = 0
    extra: int = 0
    recovery_seconds: float = 0.0
    standstill_seconds: float = 0.0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Size:
    plan: Plan
    work: Work
    faults: int
    text: str = ""


Meddle = Callable[[Lab, int], Callable[[], Look]]
"""Begins to do harm by itself; what it gives ends that and says what came of it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    fault: str
    quick: Size
    full: Size
    schedule: Callable[[Size, int], Schedule]
    limits: Limits = Limits()
    meddle: Meddle | None = None
    """With the lab and the seed, before the runs are submitted."""
    look_closer: Callable[[Lab, Played], Look] | None = None
    baseline: bool = True
    """Whether the hand-written chain can be put to the same test."""
    warm: bool = False
    """Whether steps are forked from warm processes, whatever product is given."""

    def run(self, full: bool, seed: int, product: Product | None = None, server: str | None = None) -> Row:
        product = Ours(warm=True) if self.warm else product or Ours()
        size = self.full if full else self.quick
        text = size.text or f"{size.work.runs} x 3"
        missing = size.plan.missing()
        if missing:
            return Row(self.name, product.name, seed, text, "skipped", [missing])
        with Lab(size.plan, product, server, seed) as lab:
            looks = [Look(notes=keep_when_done(lab))]
            stop = self.meddle(lab, seed) if self.meddle else Look
            schedule = self.schedule(size, seed)
            played = play(lab, size.work, schedule, lambda: looks.append(stop()))
            looks.append(self._all_played(schedule, played))
            if product.warm:
                looks.append(were_forked(played))
            if self.look_closer:
                looks.append(self.look_closer(lab, played))
            return self._row(product, seed, text, played, sum(looks, Look()))

    def _all_played(self, schedule: Schedule, played: Played) -> Look:
        planned = sum(fault.kind not in UNDO for fault in schedule)
        begun = sum(fault.kind not in UNDO for fault, _ in played.faults)
        is_short = self.limits.all_faults and begun < planned
        return Look(short=[f"{begun} of {planned} planned faults were played"] if is_short else [])

    def _row(self, product: Product, seed: int, text: str, played: Played, look: Look) -> Row:
        found = check(played.evidence)
        broken = [f"{name}: {len(cases)} ({'; '.join(cases[:MAX_SHOWN])})" for name, cases in found.faults().items()]
        broken += look.red
        short = _beyond(self.limits, played, found) + look.short
        exits = [f"{played.exits} workers ended by themselves"] if played.exits else []
        return Row(
            name=self.name,
            product=product.name,
            seed=seed,
            size=text,
            verdict="red" if broken else "short" if short else "green",
            reasons=[*broken, *short],
            lost=len(found.lost),
            wrong=len(found.wrong),
            twice=len(found.twice),
            executions=found.executions,
            extra=found.extra,
            recovery_seconds=found.recovery_seconds,
            standstill_seconds=found.standstill_seconds,
            seconds=played.seconds,
            notes=[*look.notes, *exits],
            faults=[str(fault) for fault, _ in played.faults],
        )


def _beyond(limits: Limits, played: Played, found: Findings) -> list[str]:
    share = found.extra / (played.evidence.runs * len(STEPS))
    compared: Sequence[tuple[str, float, float | None]] = (
        ("recovery took {:.1f} s", found.recovery_seconds, limits.recovery_seconds),
        ("nothing began for {:.1f} s", found.standstill_seconds, limits.standstill_seconds),
        ("{:.1f} s from the last mending to the end", played.after_seconds, limits.after_seconds),
        ("{:.2%} extra executions", share, limits.extra_share),
        ("{:.0f} workers ended by themselves", played.exits, limits.exits),
    )
    return [text.format(value) for text, value, limit in compared if limit is not None and value > limit]
