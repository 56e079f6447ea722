"""The identity by which runs share a step: what storage written before knows a step by must not change."""

from __future__ import annotations

import pytest

from pipeline_queue.contract.ids import RunId
from pipeline_queue.model.pipeline import Parameter, Pipeline, Reference, Step
from pipeline_queue.planning.planner import plan_step
from pipeline_queue.planning.step_key import distinct_executions, step_keys
from pipeline_queue.space import Points

LR = Reference(scope="parameters", name="lr")
STEP = Step(name="a", argv=(("echo",), ("--lr=", LR)), env={"LR": (LR,)})
PIPELINE = Pipeline(name="demo", parameters=(Parameter(name="lr", type="float"),), steps=(STEP,))
RUN = RunId("demo-7k3m9q2x", 0)


@pytest.mark.parametrize(
    ("value", "digest", "argument"),
    [
        (-1e-5, "19b1928f1ea8e2817e4baa7e", "--lr=-0.00001"),
        (1e22, "87860c1e53b846c5cc9ce781", "--lr=10000000000000000000000.0"),
        (0.5, "02dbee2b27f7273f2b644bd2", "--lr=0.5"),
    ],
)
def test_the_decimal_form_of_an_argument_leaves_the_identity_of_a_step(
    value: float, digest: str, argument: str
) -> None:
    ((_, identity),) = step_keys(PIPELINE, RUN, Points(({"lr": value},)), "f" * 64, {})
    assert identity.digest == digest
    assert plan_step(STEP, RUN, {"lr": value}).argv[1] == argument


def test_executions_are_counted_once_for_each_distinct_step_and_not_at_all_for_too_many_runs() -> None:
    parameters = tuple(Parameter(name=name, type="float") for name in ("lr", "x"))
    fit = Step(name="b", argv=(("fit",), (Reference(scope="parameters", name="x"),)))
    alone = fit.model_copy(update={"name": "c", "reuse": "never"})
    pipeline = Pipeline(name="demo", parameters=parameters, steps=(STEP, fit, alone))
    space = Points(tuple({"lr": lr, "x": x} for lr in (0.1, 0.2) for x in (1.0, 2.0, 3.0)))
    assert distinct_executions(pipeline, space, most=6) == (2 + 6 + 6, 18)
    assert distinct_executions(pipeline, space, most=5) is None
