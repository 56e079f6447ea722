"""Which metric of a sweep is looked at first, which end of it is better, and what is said of it."""

from __future__ import annotations

import pytest

from pipeline_queue.cli.sweep_display import metric_line
from pipeline_queue.contract.metric_spans import MAX_SPANS, MetricSpan, spans_of
from pipeline_queue.model.main_metric import choose_metric, direction_of, main_metric
from pipeline_queue.reporting.sweeps import SweepReport


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("loss", "lowest"),
        ("val_loss", "lowest"),
        ("valLoss", "lowest"),
        ("logloss", "lowest"),
        ("test.rmse", "lowest"),
        ("mean_squared_error", "lowest"),
        ("train_seconds", "lowest"),
        ("accuracy", "highest"),
        ("valAccuracy", "highest"),
        ("val/acc", "highest"),
        ("F1", "highest"),
        ("eval.ROC_AUC", "highest"),
        ("AUC", "highest"),
        ("R2", "highest"),
        ("neg_mean_squared_error", "highest"),
        ("mapping", None),
        ("epochs", None),
        ("error_score", None),
        ("sentiment", None),
        ("", None),
        ("日本語", None),
    ],
)
def test_a_name_says_in_which_direction_a_metric_is_better(name: str, direction: str | None) -> None:
    assert direction_of(name) == direction


@pytest.mark.parametrize(
    ("metrics", "chosen"),
    [
        ([], None),
        ([("weight", False)], "weight"),
        ([("weight", False), ("loss", False), ("accuracy", False)], "loss"),
        ([("loss", True), ("accuracy", False)], "accuracy"),
        ([("loss", True), ("weight", False)], "weight"),
        ([("seconds", False), ("weight", False)], "weight"),
        ([("seconds", False), ("loss", True)], "seconds"),
        ([("loss", True), ("weight", True)], "loss"),
    ],
)
def test_a_metric_that_differs_and_has_a_direction_is_looked_at_first(
    metrics: list[tuple[str, bool]], chosen: str | None
) -> None:
    assert choose_metric(metrics) == chosen


def test_a_span_keeps_the_first_of_equal_values_and_every_digit() -> None:
    spans = spans_of([(4, {"a": 0.1 + 0.2}), (2, {"a": 0.1 + 0.2, "b": -1e-300}), (9, {"b": 5.0})])
    assert spans == {"a": MetricSpan(0.1 + 0.2, 4, 0.1 + 0.2, 4, 2), "b": MetricSpan(-1e-300, 2, 5.0, 9, 2)}
    assert all(MetricSpan.from_text(span.as_text()) == span for span in spans.values())
    assert len(spans_of([(0, {str(n): 0.0 for n in range(1000)})])) == MAX_SPANS


def _report(**spans: MetricSpan) -> SweepReport:
    counts = {"queued": 0, "running": 0, "succeeded": 3, "failed": 0, "cancelled": 0}
    metric = main_metric("s-7k3m9q2x", spans)
    return SweepReport("s-7k3m9q2x", "s", "running", 9, counts, (), 0.0, None, None, None, metric=metric)


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (_report(), ""),
        (_report(loss=MetricSpan(0.25, 3, 1.5, 1, 3)), "best loss 0.25 in run 3 (lowest of 3)"),
        (_report(accuracy=MetricSpan(0.25, 3, 1.5, 1, 3)), "best accuracy 1.5 in run 1 (highest of 3)"),
        (_report(accuracy=MetricSpan(0.5, 3, 0.5, 3, 1)), "best accuracy 0.5 in run 3 (highest of 1)"),
        (_report(weight=MetricSpan(0.25, 3, 1.5, 1, 3)), "weight from 0.25 in run 3 to 1.5 in run 1 (of 3)"),
        (_report(weight=MetricSpan(2.0, 0, 2.0, 0, 3)), "weight is 2 in 3 runs"),
        (_report(**{"\x1b[31mloss": MetricSpan(2.0, 0, 3.0, 1, 3)}), r"best \x1b[31mloss 2 in run 0 (lowest of 3)"),
    ],
)
def test_what_is_said_of_it(report: SweepReport, line: str) -> None:
    assert metric_line(report) == line
