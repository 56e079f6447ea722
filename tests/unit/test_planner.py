"""What a step is to execute: pure decisions, byte-exact values, sizes refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_queue.contract.errors import InputError, ValuesError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.model.parameters import MAX_ELEMENT_BYTES
from pipeline_queue.model.pipeline import Parameter, Pipeline, Reference, Step
from pipeline_queue.planning.planner import (
    MAX_COMMAND_BYTES,
    check_sizes,
    messages,
    plan_step,
    remaining,
    retry_delay_seconds,
    step_named,
)
from workers.supervisor import step_process

RUN = RunId("train-7k3m9q2x", 5)
X = Reference(scope="parameters", name="x")


def _step(name: str, *argv: Any, env: dict[str, Any] | None = None) -> Step:
    return Step(name=name, argv=(("program",), *argv), env=env or {})


def _pipeline(*steps: Step) -> Pipeline:
    return Pipeline(name="train", parameters=(Parameter(name="x", type="string"),), steps=steps)


THREE = _pipeline(_step("one"), _step("two"), _step("three"))


@pytest.mark.parametrize(
    "value",
    ["a b", "it's", '"', "$HOME", "line\nline", "back\\slash", "a=b", "0", "", "${{ parameters.x }}", "-1e-3", "; rm -rf /",
     "\u2028", "🦊", "%s", "{x}", "x" * 100_000],
    ids=lambda value: ascii(value)[:20],
)  # fmt: skip
def test_a_value_is_one_argument_or_part_of_one_and_never_read_again(value: str) -> None:
    plan = plan_step(_step("one", (X,), ("--x=", X, "!"), env={"X": (X, X)}), RUN, {"x": value})
    assert plan.argv == ("program", value, f"--x={value}!")
    assert plan.env == {"X": value * 2}


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (0, "0"), (0.0, "0.0"), (1e-3, "0.001"), (-0.0, "0.0"), (10**30, "1" + "0" * 30)],
)  # fmt: skip
def test_each_value_has_one_text(value: Any, text: str) -> None:
    assert plan_step(_step("one", (X,)), RUN, {"x": value}).argv[1] == text


def test_run_and_sweep_are_named_in_a_plan() -> None:
    words = [(Reference(scope=scope, name=name),) for scope, name in (("run", "id"), ("run", "index"), ("sweep", "id"))]  # type: ignore[arg-type]
    assert plan_step(_step("one", *words), RUN, {}).argv[1:] == ("train-7k3m9q2x.5", "5", "train-7k3m9q2x")


def test_every_step_has_a_message_with_the_runs_values() -> None:
    found = messages(THREE, RUN, {"x": "a"})
    assert [(message.run, message.step, message.parameters) for message in found] == [
        (RUN, name, {"x": "a"}) for name in ("one", "two", "three")
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (set(), ["one", "two", "three"]),
        ({"one"}, ["two", "three"]),
        ({"one", "two.attempt-1-abc"}, ["two", "three"]),
        ({"two"}, ["one", "three"]),
        ({"one", "two", "three"}, ["three"]),
        ({"one", "run.json"}, []),
        ({"cancel.requested"}, ["one", "two", "three"]),
    ],
    ids=lambda names: str(sorted(names)),
)
def test_a_enqueued_message_carries_what_is_not_published(names: set[str], expected: list[str]) -> None:
    assert [message.step for message in remaining(THREE, RUN, {"x": ""}, names)] == expected


def test_retries_wait_longer_each_time_up_to_a_minute() -> None:
    assert [retry_delay_seconds(failures) for failures in (1, 2, 3, 6, 7, 100, 10_000)] == [1, 2, 4, 32, 60, 60, 60]


def test_an_unknown_step_is_an_error_with_a_short_name() -> None:
    assert step_named(THREE, "two").name == "two"
    with pytest.raises(InputError) as caught:
        step_named(THREE, "../" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("step", "value", "said"),
    [
        (_step("one", ("--x=", X)), "x" * (MAX_ELEMENT_BYTES - 3), "argument 1"),
        (_step("one", (X,)), "🦊" * (MAX_ELEMENT_BYTES // 4 + 1), "argument 1"),
        (_step("one", env={"X": (X,)}), "x" * (MAX_ELEMENT_BYTES - 1), "environment variable X"),
        (_step("one", *[(X,)] * 20), "x" * (MAX_COMMAND_BYTES // 20 + 1), "the whole command"),
    ],
    ids=["element", "bytes not characters", "env", "all"],
)
def test_a_command_the_system_cannot_start_is_refused_with_its_place(step: Step, value: str, said: str) -> None:
    with pytest.raises(ValuesError) as caught:
        check_sizes(_pipeline(step), RUN, {"x": value})
    text = str(caught.value)
    assert text.startswith("step one: ") and said in text and len(text) < 1000


def test_the_longest_element_is_accepted() -> None:
    check_sizes(_pipeline(_step("one", (X,))), RUN, {"x": "x" * MAX_ELEMENT_BYTES})


def test_the_supervisor_and_the_planner_know_the_same_limit_of_an_argument() -> None:
    assert step_process.MAX_ELEMENT_BYTES == MAX_ELEMENT_BYTES
