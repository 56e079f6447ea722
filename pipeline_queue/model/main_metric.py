"""Which of several metrics is looked at first, and in which direction it is better: pure, and told by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline_queue.contract.metric_spans import MetricSpan

Direction = Literal["lowest", "highest"]

_PART = re.compile(r"[a-z]+[0-9]*|[A-Z]+(?![a-z])[0-9]*|[A-Z][a-z]*[0-9]*|[0-9]+")
_LOW = frozenset({
    "bits", "brier", "bytes", "cer", "cost", "costs", "deviation", "deviations", "distance", "err", "errors", "fid",
    "kl", "mae", "mape", "mse", "nll", "perplexity", "ppl", "regret", "rmse", "rmsle", "wer"
})  # fmt: skip
_TIMES = frozenset({
    "duration", "elapsed", "latency", "minutes", "ms", "runtime", "sec", "seconds", "secs", "time", "times",
    "walltime"
})  # fmt: skip
_HIGH = frozenset({
    "acc", "accuracies", "ap", "auc", "aucpr", "auprc", "auroc", "bleu", "dice", "elo", "f1", "iou", "kappa", "map",
    "mcc", "miou", "mrr", "ndcg", "precision", "psnr", "r2", "recall", "reward", "rewards", "roc", "rouge", "score",
    "scores", "sensitivity", "silhouette", "specificity", "ssim", "throughput", "top1", "top5"
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class MainMetric:
    """The metric of a sweep, of its succeeded runs so far.

    `direction`: which end of its span is better, None when its name does not say; then `best` and `best_run` are None.
    """

    name: str
    direction: Direction | None
    best: float | None
    best_run: str | None
    lowest: float
    lowest_run: str
    highest: float
    highest_run: str
    runs: int


def direction_of(metric: str) -> Direction | None:
    """Whether the lowest or the highest value of a metric is the best, None when its name does not say.

    `neg_…` is what scikit-learn calls a loss with its sign turned.
    """
    parts = [part.lower() for part in _PART.findall(metric)]
    is_low = any(part in _LOW or part in _TIMES or part.endswith(("loss", "losses", "error")) for part in parts)
    is_high = any(part in _HIGH or part.endswith("accuracy") for part in parts)
    if is_low and parts[0] in ("neg", "negative"):
        return "highest"
    return None if is_low == is_high else "lowest" if is_low else "highest"


def choose_metric(metrics: Iterable[tuple[str, bool]]) -> str | None:
    """The first of those that differ between runs and have a direction; else of those that differ; else of all.

    Each is a name and whether it is the same in all runs. How long something took is looked at last.
    """
    return min(metrics, key=_rank, default=("", False))[0] or None


def _rank(metric: tuple[str, bool]) -> tuple[bool, bool, bool]:
    name, is_constant = metric
    is_time = any(part.lower() in _TIMES for part in _PART.findall(name))
    return is_constant, is_time, direction_of(name) is None


def main_metric(sweep: str, spans: Mapping[str, MetricSpan]) -> MainMetric | None:
    """The metric of a sweep that is looked at first; None before the first run with one has succeeded."""
    name = choose_metric((name, span.runs > 1 and span.lowest == span.highest) for name, span in spans.items())
    if name is None:
        return None
    span, direction = spans[name], direction_of(name)
    lowest_run, highest_run = f"{sweep}.{span.lowest_index}", f"{sweep}.{span.highest_index}"
    best = {"lowest": (span.lowest, lowest_run), "highest": (span.highest, highest_run)}
    value, run = best[direction] if direction else (None, None)
    return MainMetric(name, direction, value, run, span.lowest, lowest_run, span.highest, highest_run, span.runs)
