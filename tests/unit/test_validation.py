"""What is let through to kombu and Celery: our own messages, and nothing of another shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_queue.broker.validation import fault_of
from tests.bad_messages import changed, changed_entries, forged_entries, raw_entries, with_body

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "message.v1.json").read_text())
BAD = {**raw_entries(), **changed_entries(GOLDEN, Path("never"))}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for name, one in inner for place in places(one, (*above, name)))]


def test_the_message_of_version_1_is_let_through() -> None:
    assert fault_of("default", encoded(GOLDEN)) == ""


@pytest.mark.parametrize("name", sorted(forged_entries(GOLDEN)))
def test_what_a_message_says_is_not_looked_at_here(name: str) -> None:
    assert fault_of("default", forged_entries(GOLDEN)[name]) == ""


@pytest.mark.parametrize("name", sorted(BAD))
def test_an_entry_of_another_shape_is_refused_shortly(name: str) -> None:
    assert 0 < len(fault_of("default", BAD[name])) < 300


def test_a_message_is_refused_in_another_queue_than_its_own() -> None:
    assert "another queue" in fault_of("gpu", encoded(GOLDEN))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_refused_and_nothing_is_raised(entry: bytes) -> None:
    assert fault_of("default", entry)


@given(st.sampled_from(places(GOLDEN)[1:]), JSON)
@settings(deadline=None, max_examples=500)
def test_whatever_stands_in_one_place_nothing_is_raised(place: tuple[Any, ...], value: Any) -> None:
    assert isinstance(fault_of("default", encoded(changed(GOLDEN, value, *place))), str)


@given(JSON)
@settings(deadline=None, max_examples=500)
def test_whatever_the_body_is_nothing_is_raised(body: Any) -> None:
    fault = fault_of("default", encoded(with_body(GOLDEN, body)))
    # What has the shape of our own is let through: the task looks at what it says.
    has_our_shape = isinstance(body, list) and list(map(type, body)) == [list, dict, dict] and len(body[0]) == 1
    assert fault or has_our_shape
