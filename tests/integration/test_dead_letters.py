"""The dead list in a real server: bounded, printable, cleared."""

from __future__ import annotations

import pytest

from pipeline_queue.index import keys
from pipeline_queue.index.dead_letters import MAX_ROWS
from tests.integration.attempt_site import Site


def test_a_row_tells_what_why_when_and_where(site: Site) -> None:
    site.run_index.dead.keep(b"garbage", "not JSON", "gpu", "one@host")
    (row,) = site.run_index.dead.latest()
    assert (row.payload, row.reason, row.queue, row.worker, row.size_bytes) == (
        "garbage", "not JSON", "gpu", "one@host", 7,
    )  # fmt: skip
    assert abs(row.at - site.run_index.time()) < 60


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"", ""), (b"a\x1b[2Jb\r\n\0", r"a\x1b[2Jb\r\n\x00"), (b"\xff\xfe", r"\xff\xfe"), ("🦊é".encode(), "🦊é"),
        ("a\u202eb".encode(), r"a\u202eb"), (b'"}, {"v": 2', '"}, {"v": 2'),
    ],
    ids=ascii,
)  # fmt: skip
def test_a_payload_is_kept_printable(site: Site, payload: bytes, shown: str) -> None:
    site.run_index.dead.keep(payload, "why", "default", "one@host")
    assert [row.payload for row in site.run_index.dead.latest()] == [shown]


@pytest.mark.parametrize("text", ["x", "\0", "\u202e", "🦊", "\udc80"], ids=ascii)
def test_rows_are_bounded_in_bytes(site: Site, text: str) -> None:
    site.run_index.dead.keep((text * 1_000_000).encode(errors="surrogatepass"), text * 9000, text * 9000, text * 9000)
    assert len(str(site.redis.lindex(keys.DEAD, 0)).encode()) < 8000
    assert site.run_index.dead.latest()[0].payload


def test_rows_are_bounded_in_number_and_the_newest_stay(site: Site) -> None:
    for number in range(MAX_ROWS + 3):
        site.run_index.dead.keep(str(number).encode(), "why", "default", "one@host")
    rows = site.run_index.dead.latest()
    assert site.run_index.dead.count() == len(rows) == MAX_ROWS
    assert (rows[0].payload, rows[-1].payload) == (str(MAX_ROWS + 2), "3")


def test_a_row_of_another_version_is_left_out(site: Site) -> None:
    site.run_index.dead.keep(b"mine", "why", "default", "one@host")
    site.redis.lpush(keys.DEAD, '{"v": 2, "what": "else"}')
    assert [row.payload for row in site.run_index.dead.latest()] == ["mine"]


def test_clearing_says_how_many_there_were(site: Site) -> None:
    assert site.run_index.dead.clear() == 0
    site.run_index.dead.keep(b"x", "why", "default", "one@host")
    assert (site.run_index.dead.clear(), site.run_index.dead.count()) == (1, 0)
