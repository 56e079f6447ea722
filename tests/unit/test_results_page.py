"""The page of `results --html`: whole in itself, and nothing in it but its own markup can be run or seen as markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline_queue.reporting.page import page_data, render_page
from pipeline_queue.reporting.results import Row

HOSTILE = [
    "</script><script>alert(1)</script>", "<!--", "-->", "<![CDATA[", "]]>", "\u2028\u2029", "'\"&amp;&lt;", "@@SCRIPT@@",
    "@@DATA@@", "\\u003c", "${x}", "javascript:alert(1)", "https://example.com/x.js", "</title><img src=x onerror=alert(1)>",
    "\x00\x1b[31m", "🦊", "", "\\", "</SCRIPT ", "<svg/onload=alert(1)>",
]  # fmt: skip


class _Reader(HTMLParser):
    """The tags with their attributes, as a browser would find them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader


def _row(index: int, text: str = "x") -> Row:
    return Row(
        f"train-7k3m9q2x.{index}",
        index,
        "succeeded",
        {"text": text, text or "empty": index},
        {text: 0.5, "loss": 1},
        2.0,
    )


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


PLAIN = render_page([_row(0), _row(1)], "train-7k3m9q2x")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_value_is_ever_markup(text: str) -> None:
    rows = [_row(0, text), _row(1, "other")]
    page = render_page(rows, text, [f"-{text}"])
    assert [tag for tag, _ in _read(page).tags] == [tag for tag, _ in _read(PLAIN).tags]
    shown = page.split('id="data">')[1].split("</script>")[0]
    assert not re.search("[<>&\u2028\u2029]", shown)
    data = _data(page)
    assert data["title"] == text
    column = [one["name"] for one in data["columns"]].index("text")
    assert [row[column] for row in data["rows"]] == [text, "other"]
    assert len(page) - len(PLAIN) < 5_000


def test_the_page_asks_for_nothing_from_anywhere() -> None:
    reader = _read(PLAIN)
    for tag, attributes in reader.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "audio", "video", "source")
        assert not attributes.keys() & {"src", "href", "srcset", "action", "style"}
        assert not any(name.startswith("on") for name in attributes)
    urls = re.findall(r"(?:https?:)?//[a-z][^\s\"')]*", PLAIN.replace("http://www.w3.org/2000/svg", ""))
    assert urls == [] and "url(" not in PLAIN and "@import" not in PLAIN
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "fetch(",
        "new Function",
    ):
        assert forbidden not in PLAIN


def test_the_policy_allows_this_style_and_script_and_nothing_else() -> None:
    reader = _read(PLAIN)
    policies = [one["content"] for tag, one in reader.tags if tag == "meta" and "http-equiv" in one]
    assert len(policies) == 1 and policies[0] and policies[0].startswith("default-src 'none'; ")
    style = PLAIN.split("<style>")[1].split("</style>")[0]
    script = PLAIN.split("<script>")[1].split("</script>")[0]
    for text in (style, script):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policies[0]
    assert "unsafe" not in policies[0]


def test_every_field_has_a_label_and_the_page_a_language() -> None:
    assert '<html lang="en">' in PLAIN and 'name="viewport"' in PLAIN
    labelled = re.findall(r"<label[^>]*>(.*?)</label>", PLAIN, re.DOTALL)
    fields = re.findall(r"<(?:input|select)\b", PLAIN)
    assert len(fields) == len(labelled) == sum(bool(re.search("<(?:input|select)", one)) for one in labelled)


def test_the_script_uses_only_elements_that_are_there() -> None:
    used = set(re.findall(r'byId\("([a-z-]+)"\)', PLAIN))
    assert used <= set(re.findall(r'id="([a-z-]+)"', PLAIN))


def test_rows_keep_their_order_and_columns_their_kinds() -> None:
    rows = [
        Row("s.1", 1, "failed", {"a": 10**30, "b": "x"}, {}, None),
        Row("s.0", 0, "succeeded", {"a": 2, "b": "x"}, {"loss": 0.5}, 1.0),
    ]
    data = page_data(rows, "s", ["loss"])
    assert {one["name"]: one["kind"] for one in data["columns"]} == {
        "run": "own", "index": "own", "state": "own", "a": "changed", "loss": "metric", "seconds": "own", "b": "constant",
    }  # fmt: skip
    assert data["rows"] == [
        ("s.1", 1, "failed", str(10**30), None, None, "x"),
        ("s.0", 0, "succeeded", 2, 0.5, 1.0, "x"),
    ]
    assert data["sort"] == ["loss"]


def test_a_page_of_no_rows_is_a_page() -> None:
    assert _data(render_page([], "nothing yet"))["rows"] == []
