"""Mount points of any name are read as the kernel writes them."""

from __future__ import annotations

import pytest

from workers.mounts import parse_mounts

_LINE = "36 35 98:0 /root {point} rw,noatime master:1 - {kind} /dev/root rw"


@pytest.mark.parametrize(
    "point", ["/mnt", "/a\u2028b", "/a\x0bb", "/a\rb", "/a\u00a0b", "/a\u3000b", "/a\x85b", "/a\udc80b"], ids=ascii
)
def test_only_what_the_kernel_escapes_separates(point: str) -> None:
    text = "\n".join([_LINE.format(point=point, kind="ext4"), _LINE.format(point="/other", kind="tmpfs"), ""])
    assert parse_mounts(text) == [(point, "ext4"), ("/other", "tmpfs")]


def test_escaped_characters_come_back() -> None:
    assert parse_mounts(_LINE.format(point="/a\\040b\\011c\\134d", kind="xfs")) == [("/a b\tc\\d", "xfs")]


def test_what_cannot_be_read_is_an_error_that_callers_expect() -> None:
    with pytest.raises(OSError, match="mounts"):
        parse_mounts("nonsense\n")
