"""Reads the `links:` of a pipeline file: names that are links in every step's folder, with their absolute targets."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from pipeline_queue.loading.fields import Fields
from pipeline_queue.loading.nodes import Mapping, Node, Scalar
from pipeline_queue.model.problems import quoted

MAX_LINKS = 50
_MAX_PATH_CHARACTERS = 1_024
_LABEL = "links of the pipeline"
_TARGET_HINT = "write the absolute path of a folder or file that workers see under the same path"


def read_links(fields: Fields, folder: Path) -> dict[str, str]:
    """Name -> absolute target. A list names links of `folder`, a mapping gives targets; reports what is wrong."""
    node = fields.get("links")
    if node is None:
        return {}
    links: dict[str, str] = {}
    named: list[tuple[Node, Node | None]] = []
    if isinstance(node, Mapping):
        named = list(node.entries)
    elif isinstance(node, Scalar) and not node.is_null:
        named = [(node, None)]
    else:
        named = [(item, None) for item in fields.reading.items(node, _LABEL)]
    if len(named) > MAX_LINKS:
        fields.reading.add(
            node, f"there are {len(named):,} links; at most {MAX_LINKS} are allowed", "link a folder of them"
        )
    for name_node, target_node in named[:MAX_LINKS]:
        name = _read_name(fields, name_node, links)
        target = _read_target(fields, target_node) if target_node else _target_of(fields, name_node, folder, name)
        if name is not None and target is not None:
            links[name] = target
            _warn(fields, name_node, folder, name, target)
    return links


def _warn(fields: Fields, node: Node, folder: Path, name: str, target: str) -> None:
    """Says what the link hides, and when its target is not on this machine."""
    path = folder / name
    if os.path.lexists(path) and not os.path.islink(path):  # noqa: PTH114 - never raises
        message = f"the link hides {quoted(name)} of the pipeline's folder from every step"
        hint = "rename the link if that is not intended"
        fields.reading.warnings.add(fields.reading.document.place(node), message, hint)
    if not os.path.exists(target):  # noqa: PTH110 - never raises
        message = f"the target {quoted(target)} of link {quoted(name)} does not exist on this machine"
        hint = "it must exist on the workers"
        fields.reading.warnings.add(fields.reading.document.place(node), message, hint)


def _read_name(fields: Fields, node: Node, before: dict[str, str]) -> str | None:
    text = fields.reading.text(node, f"a name in {_LABEL}")
    if text is None:
        return None
    name = posixpath.normpath(text)
    if not text or not _is_path(text) or name == "." or name.startswith("/") or ".." in text.split("/"):
        hint = "write the name of the link, a path below the pipeline's folder"
        fields.reading.add(node, f"{quoted(text)} cannot be a link in a step's folder", hint)
        return None
    for other in before:
        if f"{name}/".startswith(f"{other}/") or f"{other}/".startswith(f"{name}/"):
            fields.reading.add(node, f"the links {quoted(other)} and {quoted(name)} exclude each other", "keep one")
            return None
    return name


def _read_target(fields: Fields, node: Node) -> str | None:
    text = fields.reading.text(node, f"a target in {_LABEL}", _TARGET_HINT)
    if text is not None and (not text.startswith("/") or not _is_path(text)):
        fields.reading.add(node, f"the target {quoted(text)} is not an absolute path", _TARGET_HINT)
        return None
    return text


def _target_of(fields: Fields, node: Node, folder: Path, name: str | None) -> str | None:
    """Where the link of that name in the pipeline's folder leads, as an absolute path; None after a problem."""
    if name is None:
        return None
    path = folder / name
    hint = "write `links: {" + name + ": /absolute/path}` to give its target"
    try:
        text = os.readlink(path)  # noqa: PTH115 - a text: a Path would drop what it thinks superfluous
    except OSError:
        is_there = os.path.lexists(path)
        problem = f"{quoted(name)} is not a link" if is_there else f"there is no link {quoted(name)}"
        fields.reading.add(node, f"{problem} in the pipeline's folder", hint)
        return None
    # Relative to where the link really lies, whatever links lead there.
    target = os.path.normpath(os.path.join(os.path.realpath(path.parent), text))  # noqa: PTH118
    if not _is_path(target):
        fields.reading.add(node, f"the target of {quoted(name)} is not valid UTF-8", hint)
        return None
    return target


def _is_path(text: str) -> bool:
    is_unicode = not any("\ud800" <= character <= "\udfff" for character in text)
    return "\0" not in text and is_unicode and len(text) <= _MAX_PATH_CHARACTERS
