"""Reads a space back from its JSON form, `{"v": 1, "kind": …}`."""

from __future__ import annotations

from typing import Any

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.space.points import Points, Space
from pipeline_queue.space.product import Product


def space_from_json(data: dict[str, Any]) -> Space:
    """Raises StorageError for a kind or version this program does not know, and for a damaged record."""
    version, kind = data.get("v"), data.get("kind")
    if version != 1 or kind not in ("points", "product"):
        raise StorageError(f"a sweep of kind {kind!r}, version {version!r} was written by a newer version")
    try:
        return Points(tuple(data["points"])) if kind == "points" else Product.from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"the points of a sweep cannot be read: {type(error).__name__}: {error}") from error
