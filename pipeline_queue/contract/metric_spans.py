"""Between which numbers the metrics of a sweep's succeeded runs lie: counted as runs end, kept when the sweep has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_SPANS = 64
"""Of how many metrics of a sweep: the first that its runs have."""


@dataclass(frozen=True, slots=True)
class MetricSpan:
    """One metric: its lowest and highest value, the index of a run with each, and how many runs have it."""

    lowest: float
    lowest_index: int
    highest: float
    highest_index: int
    runs: int = 1

    def joined(self, other: MetricSpan) -> MetricSpan:
        """Of the runs of both; of equal values that of the first stays."""
        low = other if other.lowest < self.lowest else self
        high = other if other.highest > self.highest else self
        return MetricSpan(low.lowest, low.lowest_index, high.highest, high.highest_index, self.runs + other.runs)

    def as_text(self) -> str:
        """As the index keeps it."""
        return f"{self.lowest!r} {self.lowest_index} {self.highest!r} {self.highest_index} {self.runs}"

    @classmethod
    def from_text(cls, text: str) -> MetricSpan:
        """Raises ValueError."""
        lowest, lowest_index, highest, highest_index, runs = text.split(" ")[:5]
        return cls(float(lowest), int(lowest_index), float(highest), int(highest_index), int(runs))


def spans_of(runs: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, MetricSpan]:
    """Metric -> its span, in the order the metrics first occur; each run is its index and its metrics."""
    spans: dict[str, MetricSpan] = {}
    for index, metrics in runs:
        for name, value in metrics.items():
            span = MetricSpan(value, index, value, index)
            if name in spans:
                spans[name] = spans[name].joined(span)
            elif len(spans) < MAX_SPANS:
                spans[name] = span
    return spans
