"""The envelope: one golden form, and every other one refused with a plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.broker.message import StepMessage, decode_step
from pipeline_queue.contract.errors import MessageError
from pipeline_queue.contract.ids import RunId

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "envelope.v1.json"

HOSTILE_VALUES: list[Any] = [
    "a b", "it's", '"', "$HOME", "line\nline", "back\\slash", "a=b", "0", "0.0", "false", "", "${{ run.id }}", "-1e-3",
    "\u2028", "🦊", 0, 0.0, False, True, -1, 1e-300, 10**99, 1.0, 2**63,
]  # fmt: skip


def test_the_envelope_of_version_1_is_the_golden_one() -> None:
    message = StepMessage(RunId("train-7k3m9q2x", 3), "prepare", {"learning_rate": 0.01})
    assert message.envelope() == json.loads(GOLDEN.read_text())
    assert decode_step(json.loads(GOLDEN.read_text()), {"learning_rate": 0.01}) == message


@pytest.mark.parametrize("value", HOSTILE_VALUES)
def test_a_value_crosses_the_wire_unchanged_to_the_type(value: Any) -> None:
    message = StepMessage(RunId("train-7k3m9q2x", 0), "one", {"x": value})
    envelope, parameters = json.loads(json.dumps([message.envelope(), message.parameters]))
    decoded = decode_step(envelope, parameters)
    assert decoded == message
    assert type(decoded.parameters["x"]) is type(value)


@pytest.mark.parametrize(
    "envelope",
    [
        None, 1, "train-7k3m9q2x.0", [], ["v", 1], {}, {"v": 1}, {"v": 2, "run": "train-7k3m9q2x.0", "step": "one"},
        {"v": "1", "run": "train-7k3m9q2x.0", "step": "one"}, {"v": True, "run": "train-7k3m9q2x.0", "step": "one"},
        {"v": 1.0, "run": "train-7k3m9q2x.0", "step": "one"}, {"v": 1, "run": "train-7k3m9q2x.0"},
        {"v": 1, "step": "one"}, {"v": 1, "run": 7, "step": "one"}, {"v": 1, "run": "train-7k3m9q2x.0", "step": ["one"]},
        {"v": [[[]]] * 1000, "run": "train-7k3m9q2x.0", "step": "one"},
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_an_envelope_of_another_form_is_refused_shortly(envelope: object) -> None:
    with pytest.raises(MessageError) as caught:
        decode_step(envelope, {})
    assert 0 < len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "run",
    [
        "../../etc/passwd", "../train-7k3m9q2x.0", "train-7k3m9q2x/../x.0", "train-7k3m9q2x.0/..", "train-7k3m9q2x",
        "train-7k3m9q2x.", "train-7k3m9q2x.-1", "train-7k3m9q2x.00", "train-7k3m9q2x.0\n", "train-7k3m9q2x.٣",
        "train-7k3m9q2x.1e3", "train-7k3m9q2x.9999999999", "", ".", "..", "x" * 100_000, "tráin-7k3m9q2x.0",
        "train-7k3m9q2u.0", "\0-7k3m9q2x.0", "9rain-7k3m9q2x.0",
    ],
    ids=lambda run: ascii(run)[:40],
)  # fmt: skip
def test_a_forged_run_id_never_becomes_a_path(run: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode_step({"v": 1, "run": run, "step": "one"}, {})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [None, [], {}, [1], {"a": 1}], ids=str)
def test_a_parameter_that_is_not_a_single_value_is_refused(value: object) -> None:
    with pytest.raises(MessageError, match="'x'"):
        decode_step({"v": 1, "run": "train-7k3m9q2x.0", "step": "one"}, {"x": value})
