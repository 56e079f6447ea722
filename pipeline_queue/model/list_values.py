"""Lists among the values of parameters: a list is held as its JSON text, `[64,32]`, everywhere but in a command.

So it is a plain text to messages, storage, tables, folders and comparisons, and equal lists have equal texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

Member = bool | int | float | str


def list_text(members: Sequence[Member]) -> str:
    """The one canonical text of a list."""
    return json.dumps(list(members), ensure_ascii=False, separators=(",", ":"))


def members_of(text: str) -> list[Member]:
    """The members of a text that `list_text` made."""
    members: list[Member] = json.loads(text)
    return members


def written_members(text: str) -> list[object] | None:
    """What a JSON list holds, numbers as the texts that were written; None when the text is no JSON list."""
    if not text.lstrip().startswith("["):
        return None
    try:
        data = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, list) else None


def is_same_list(one: str, other: str) -> bool:
    """Whether two texts are JSON lists of equal values, however they are written."""
    if not (one.lstrip().startswith("[") and other.startswith("[")):
        return False
    try:
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, RecursionError):
        return False
