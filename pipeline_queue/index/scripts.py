"""The Lua scripts of the index (lua/*.lua): each decides and writes in one atomic step, on Redis' own clock.

A run's hash holds `state`, `created` (ms), `cancel`, and for every step that was ever claimed the fields
`<step>|state`, `|attempts`, `|failures`, `|deaths`, `|holder`, `|token`, `|until` (ms), `|worker`,
`|started` (ms), `|seconds`, `|exit`, `|message`, `|due` (ms), and of one that failed `|handed` (how often another
worker was to say whether the step or its machine failed), `|avoid` (workers and hosts that leave it to others, by line)
and `|avoid_until` (ms); `published` is how many of its first steps are. Times are
milliseconds since 1970 by Redis. A sweep's hash keeps what its last steps took as `took|<step>` (ms, newest first).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")
_MAY_EXCEED_MEMORY = "#!lua flags=allow-oom\n"


@cache
def script(name: str) -> str:
    """The text of `lua/<name>.lua` with the library in front, as Redis is to execute it."""
    return f"{_read('library')}\n{_read(name)}"


def script_beyond_memory(name: str) -> str:
    """The same for a server that is out of memory, which Redis 7 and Valkey allow: for what takes next to none."""
    return _MAY_EXCEED_MEMORY + script(name)


@cache
def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")
