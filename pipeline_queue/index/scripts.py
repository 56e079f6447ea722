"""The Lua scripts of the index (lua/*.lua): each decides and writes in one atomic step, by Redis' own clock.

A run's hash holds `state`, `created` (ms), `cancel`, and for every step that was ever claimed the fields
`<step>|state`, `|attempts`, `|failures`, `|deaths`, `|holder`, `|token`, `|until` (ms), `|worker`,
`|started` (ms), `|seconds`, `|exit`, `|message`, `|due` (ms), and for a step that failed `|handed` (how often another
worker had to retry the step, to determine whether the step or its machine was at fault), `|avoid` (workers and hosts
that leave it to others, one per line) and `|avoid_until` (ms). `published` is the number of the run's first steps that
are published. Times are milliseconds since 1970 by Redis. A sweep's hash keeps the latest durations of each step as
`took|<step>` (ms, newest first).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")
_MAY_EXCEED_MEMORY = "#!lua flags=allow-oom\n"


@cache
def script(name: str) -> str:
    """The text of `lua/<name>.lua` with the library in front, as Redis executes it."""
    return f"{_read('library')}\n{_read(name)}"


def script_beyond_memory(name: str) -> str:
    """The same, allowed to run when the server is out of memory (Redis 7, Valkey). For scripts that need little."""
    return _MAY_EXCEED_MEMORY + script(name)


@cache
def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")
