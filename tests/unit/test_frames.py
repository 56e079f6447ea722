"""The wire format between a worker and its supervisor, byte by byte."""

from __future__ import annotations

import pytest

from workers.supervisor.protocol import Renewal, StartOrder, decode_frame, encode_frame

START = (
    b'{"v":1,"type":"start","id":"a","argv":["x","\\u00fc\\n\\udcff"],"cwd":"/","env":{"A":"b"},"log":"/l",'
    b'"log_limit_bytes":10,"timeout_seconds":null,"grace_seconds":1.5,"lease_seconds":20,"leased_at":5}\n'
)


def test_a_start_frame_of_version_1_is_read() -> None:
    order = StartOrder.read(decode_frame(START))
    assert order.argv == ("x", "ü\n\udcff")
    assert (order.timeout_seconds, order.grace_seconds, order.lease_until) == (None, 1.5, 25)


def test_a_frame_is_one_line_of_ascii_and_comes_back() -> None:
    fields = {"id": "a", "argv": ["ü\n\udcff \U0001f600"]}
    line = encode_frame("start", fields)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert decode_frame(line) == {"v": 1, "type": "start", **fields}


def test_a_renewal_counts_from_when_the_lease_was_asked_for() -> None:
    renewal = Renewal.read({"ids": ["a"], "lease_seconds": 20, "leased_at": 100.5})
    assert (renewal.ids, renewal.lease_until) == (("a",), 120.5)


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"v":2}', b"{}"])
def test_what_is_not_a_frame_of_this_version_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_frame(line)


@pytest.mark.parametrize(
    ("name", "value"),
    [("argv", "x"), ("argv", [1]), ("env", []), ("env", {"A": 1}), ("id", 1), ("log_limit_bytes", True),
     ("grace_seconds", None), ("timeout_seconds", "1"), ("leased_at", None),
     ("grace_seconds", float("inf")), ("log_limit_bytes", float("nan")),
     ("timeout_seconds", 10**400)],
)  # fmt: skip
def test_a_start_frame_names_its_wrong_field(name: str, value: object) -> None:
    frame = {**decode_frame(START), name: value}
    with pytest.raises(ValueError, match=name):
        StartOrder.read(frame)
