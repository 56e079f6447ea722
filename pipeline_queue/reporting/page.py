"""Rows as one HTML page that needs nothing else: a table, and plots of parameters and metrics.

Values reach the page as JSON in a data block and are shown as text only. The page's own policy forbids every request
and every script but ours, which it names by digest.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from pipeline_queue.contract.records import Scalar
from pipeline_queue.model.main_metric import choose_metric, direction_of
from pipeline_queue.model.parameters import text_of
from pipeline_queue.reporting.results import OWN_NAMES, Row, find_columns, to_columns

_PLACEHOLDER = re.compile(r"@@([A-Z]+)@@")
# In a data block only `<` could end it or begin a comment; the others end lines in older readers of JavaScript.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_MAX_EXACT = 2**53
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) )", re.MULTILINE)


def render_page(rows: Sequence[Row], title: str, sort: Sequence[str] = ()) -> str:
    """The page of these rows, in this order; the first of the `sort` keys is the metric it begins with."""
    style, script = _asset("plots.css") + _asset("results.css"), inlined_script("results.js")
    values = {
        "TITLE": html.escape(title),
        "POLICY": f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; "
        "form-action 'none'",
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _as_data(page_data(rows, title, sort)),
    }
    # In one pass: a value that looks like a placeholder stays what it is.
    return _PLACEHOLDER.sub(lambda found: values[found[1]], _asset("results.html"))


def page_data(rows: Sequence[Row], title: str, sort: Sequence[str] = ()) -> dict[str, Any]:
    """What the script is given: columns with their kind, and one list of values for each row."""
    found = find_columns(rows)
    kinds = {
        **dict.fromkeys(OWN_NAMES, "own"),
        **dict.fromkeys(found.changed, "changed"),
        **dict.fromkeys(found.constant, "constant"),
        **dict.fromkeys(found.metrics, "metric"),
    }
    columns = to_columns(rows)
    lows = {name for name in columns if direction_of(name) == "lowest"}
    return {
        "title": title,
        "columns": [{"name": name, "kind": kinds[name], **({"low": True} if name in lows else {})} for name in columns],
        "metric": choose_metric((name, len(set(columns[name]) - {None}) < 2) for name in found.metrics),
        "rows": list(zip(*(map(as_exact, values) for values in columns.values()), strict=True)),
        "sort": list(sort),
    }


def inlined_script(name: str) -> str:
    """The module and all that it imports as one classic script, each after those that it needs.

    The modules share one scope there, so they only use named exports, and no top-level name twice.
    """
    texts: dict[str, str] = {}

    def add(module: str) -> None:
        text = _asset(module)
        for imported in _IMPORT.findall(text):
            if imported not in texts:
                add(imported)
        texts[module] = _EXPORT.sub("", _IMPORT.sub("", text))

    add(name)
    # Modules are strict by themselves.
    return "\n".join(['\n"use strict";', *texts.values()])


def as_exact(value: Scalar | None) -> Scalar | None:
    """Whole numbers that JavaScript would round are given as text."""
    return text_of(value) if type(value) is int and abs(value) > _MAX_EXACT else value


def _as_data(data: dict[str, Any]) -> str:
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _asset(name: str) -> str:
    return files("pipeline_queue.reporting").joinpath("pages", name).read_text("utf-8")


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an inline block: of exactly what stands between its tags."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
