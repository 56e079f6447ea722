"""The chain in a message: the same at both ends, and followed link by link unless it does not fit."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.broker.message import Link, Message, ParentTask, Scalar, StepMessage, decode, run_of
from pipeline_queue.broker.signing import SigningKey
from pipeline_queue.contract.errors import MessageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.model.pipeline import Parameter, Pipeline, Step
from pipeline_queue.planning.planner import messages
from pipeline_queue.submitting.canvas import chain, following
from tests.bad_messages import body_of, raw_entries, with_body

RUN = RunId("train-7k3m9q2x", 3)
POINT: dict[str, Scalar] = {"rate": 0.5, "word": "it's $HOME", "count": 1, "flag": True}
QUEUES = {"one": "default", "two": "gpu", "three": "default", "four": "default"}
PIPELINE = Pipeline(
    name="train",
    parameters=tuple(Parameter(name=name, type="string") for name in POINT),
    steps=tuple(Step(name=name, argv=(("true",),), queue=queue) for name, queue in QUEUES.items()),
)
OLD, NEW = SigningKey(b"0" * 32), SigningKey(b"1" * 32, b"0" * 32)

TEXTS = st.text(max_size=20)
VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
LINKS = st.builds(
    Link,
    st.builds(StepMessage, st.just(RUN), TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3)),
    st.text(min_size=1, max_size=20),
    TEXTS,
    TEXTS,
    TEXTS,
    st.none() | TEXTS,
    st.text(min_size=1, max_size=20),
)


def sent(key: SigningKey | None = None) -> Message:
    """The chain of a whole run, as a worker receives it."""
    return decode(chain(PIPELINE, messages(PIPELINE, RUN, POINT), key=key).encode())


def steps_of(message: Message | None) -> list[str]:
    return [link.message.step for link in message.links] if message else []


@given(
    st.lists(LINKS, min_size=1, max_size=4),
    st.sampled_from([0, 3, 6, 9]),
    st.none() | st.builds(ParentTask, st.text(min_size=1), st.text(min_size=1)),
)
def test_a_message_is_the_same_at_both_ends(links: list[Link], priority: int, parent: ParentTask | None) -> None:
    message = Message(tuple(links), priority, parent)
    assert decode(message.encode()) == message
    assert decode(message.encode().encode()).encode() == message.encode()


@pytest.mark.parametrize("name", sorted(raw_entries()))
def test_what_is_no_message_of_ours_is_no_runs(name: str) -> None:
    with pytest.raises(MessageError):
        decode(raw_entries()[name])
    assert run_of(raw_entries()[name].decode(errors="replace")) is None


@pytest.mark.parametrize("key", [None, NEW], ids=["unsigned", "signed"])
def test_the_next_message_is_the_next_link_as_it_came(key: SigningKey | None, caplog: pytest.LogCaptureFixture) -> None:
    received = sent(key)
    root = received.first.id
    for step in ("two", "three", "four"):
        parent = received.first.id
        rest = received.links[1:]
        sent_on = following(PIPELINE, received, POINT, {"one", received.step}, key)
        assert sent_on == Message(rest, 0, ParentTask(parent, root))
        received = decode(sent_on.encode())
        assert received.step == step and received.links == rest
    assert following(PIPELINE, received, POINT, {"four"}, key) is None
    assert caplog.text == ""


def test_links_of_published_steps_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    received = sent()
    sent_on = following(PIPELINE, received, POINT, {"one", "two"})
    assert sent_on is not None and sent_on.links == received.links[2:]
    # Whoever enqueued it knew already that it was published.
    without = Message((received.links[0], *received.links[2:]))
    sent_on = following(PIPELINE, without, POINT, {"one", "two"})
    assert sent_on is not None and sent_on.links == received.links[2:]
    assert following(PIPELINE, received, POINT, set(QUEUES)) is None
    assert caplog.text == ""


def test_a_worker_without_a_key_passes_signatures_on() -> None:
    sent_on = following(PIPELINE, sent(NEW), POINT, {"one"})
    assert sent_on is not None
    NEW.check(sent_on.first.envelope(), sent_on.first.message, "gpu")


def _with(link: Link, **changes: Any) -> Link:
    return replace(link, message=replace(link.message, **changes))


CHANGES: dict[str, Callable[[Link, Link, Link], tuple[Link, ...]]] = {
    "no chain": lambda two, three, four: (),
    "a shorter one": lambda two, three, four: (two, three),
    "a step left out": lambda two, three, four: (two, four),
    "another order": lambda two, three, four: (three, two, four),
    "a step twice": lambda two, three, four: (two, three, three, four),
    "an earlier step": lambda two, three, four: (_with(two, step="one"), three, four),
    "an unknown step": lambda two, three, four: (_with(two, step="../two"), three, four),
    "another run": lambda two, three, four: (_with(two, run=RunId("train-7k3m9q2x", 4)), three, four),
    "another run later": lambda two, three, four: (two, three, _with(four, run=RunId("train-7k3m9q2x", 4))),
    "another value": lambda two, three, four: (_with(two, parameters={**POINT, "rate": 0.25}), three, four),
    "another type": lambda two, three, four: (_with(two, parameters={**POINT, "count": True}), three, four),
    "a value too many": lambda two, three, four: (_with(two, parameters={**POINT, "more": 1}), three, four),
    "no values": lambda two, three, four: (_with(two, parameters={}), three, four),
    "the same id twice": lambda two, three, four: (two, replace(three, id=two.id), four),
    "another queue": lambda two, three, four: (replace(two, queue="default"), three, four),
    "another queue later": lambda two, three, four: (two, three, replace(four, queue="_kombu.binding.celeryev")),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_chain_that_does_not_fit_is_made_anew_and_that_is_logged(
    change: str, caplog: pytest.LogCaptureFixture
) -> None:
    received = sent()
    first, two, three, four = received.links
    bad = Message((first, *CHANGES[change](two, three, four)))
    sent_on = following(PIPELINE, bad, POINT, {"one"})
    assert sent_on is not None and sent_on.parent == ParentTask(first.id, first.id)
    assert [(link.message, link.queue) for link in sent_on.links] == [
        (link.message, link.queue) for link in (two, three, four)
    ]
    assert len({link.id for link in (*sent_on.links, *received.links)}) == 7
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and f"run={RUN} step=two" in record.getMessage()


@pytest.mark.parametrize(
    "signature", [None, "", "1:" + "0" * 64, "é", OLD.sign(messages(PIPELINE, RUN, POINT)[1], "gpu")], ids=ascii
)
def test_a_link_that_the_worker_would_not_have_signed_is_made_anew(
    signature: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one by an older key: it may be accepted nowhere any more when the link arrives."""
    received = sent(NEW)
    bad = Message((received.first, replace(received.links[1], signature=signature), *received.links[2:]))
    sent_on = following(PIPELINE, bad, POINT, {"one"}, NEW)
    assert sent_on is not None and sent_on.first.id != received.links[1].id
    for link in sent_on.links:
        NEW.check(link.envelope(), link.message, link.queue)
    assert "not signed" in caplog.text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("task",), "os.system"),
        (("args",), None),
        (("args",), []),
        (("args", 0), "x"),
        (("args", 0, "v"), 2),
        (("args", 0, "run"), "../../etc/passwd.0"),
        (("kwargs",), {"rate": [1]}),
        (("options",), {}),
        (("options", "task_id"), ""),
        (("options", "task_id"), "x" * 201),
        (("options", "queue"), None),
        (("options", "kwargsrepr"), True),
    ],
    ids=str,
)
def test_a_chain_that_cannot_be_read_is_left_out_and_the_step_is_executed(path: tuple[Any, ...], value: Any) -> None:
    entry = json.loads(chain(PIPELINE, messages(PIPELINE, RUN, POINT)).encode())
    received = decode(json.dumps(with_body(entry, value, 2, "chain", 1, *path)))
    assert received.links == (decode(json.dumps(entry)).first,)
    assert steps_of(following(PIPELINE, received, POINT, {"one"})) == ["two", "three", "four"]
    assert body_of(entry)[2]["chain"]
