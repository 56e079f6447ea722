"""Reads `memory:` of a step: an amount with its unit -> bytes."""

from __future__ import annotations

import re

from pipeline_queue.loading.fields import Fields
from pipeline_queue.model.problems import quoted

MIN_BYTES = 10**6
MAX_BYTES = 10**15

_SIZE = re.compile(r"(?P<count>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[kmgt]?i?b?)", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_HINT = "write it as 512MB, 2GB (powers of 1000) or 2GiB (powers of 1024)"


def read_memory(fields: Fields) -> int | None:
    """The limit in bytes, None when there is none, or it is wrong and was reported."""
    node = fields.get("memory")
    text = fields.reading.text(node, fields.label("memory"), _HINT) if node else None
    if node is None or text is None:
        return None
    size = bytes_of(text)
    if size is None:
        fields.reading.add(node, f"{quoted(text)} is not an amount of memory", _HINT)
    elif not MIN_BYTES <= size <= MAX_BYTES:
        fields.reading.add(node, f"{fields.label('memory')} must be at least 1 MB and at most 1000 TB", _HINT)
    else:
        return size
    return None


def bytes_of(text: str) -> int | None:
    """`2GB` -> 2,000,000,000; `2GiB` and `2Gi` -> 2,147,483,648; None when it is no such text."""
    found = _SIZE.fullmatch(text.strip().lower()) if len(text) <= 64 else None
    if found is None:
        return None
    prefix = found["unit"].removesuffix("b").removesuffix("i")
    base = 1024 if "i" in found["unit"] else 1000
    if base == 1024 and not prefix:
        return None
    return int(float(found["count"]) * base ** _POWERS[prefix])
