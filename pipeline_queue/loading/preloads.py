"""Reads `preload:`, the modules that a step's Python script finds imported already."""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline_queue.loading.fields import Fields, Reading
from pipeline_queue.loading.nodes import Node, Scalar
from pipeline_queue.loading.programs import Programs
from pipeline_queue.model.problems import quoted

MAX_MODULES = 50
_MAX_CHARACTERS = 200
_NAME_HINT = "write names as after `import`, such as numpy or sklearn.linear_model"


@dataclass(frozen=True, slots=True)
class Preload:
    """The modules that are right, each with where it is written."""

    modules: tuple[tuple[str, Node], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.modules)


def read_preload(fields: Fields) -> Preload | None:
    """None when there is no `preload:`; an empty list is one."""
    node = fields.get("preload")
    if node is None:
        return None
    reading, label = fields.reading, fields.label("preload")
    single = isinstance(node, Scalar) and not node.is_null
    items = (node,) if single else reading.items(node, label)
    if len(items) > MAX_MODULES:
        reading.add(node, f"{label} has more than {MAX_MODULES} modules", "name only those that are slow to import")
        return Preload()
    found: dict[str, Node] = {}
    for item in items:
        name = reading.text(item, f"a module in {label}", _NAME_HINT)
        if name is None:
            continue
        if not _is_module_name(name):
            reading.add(item, f"{quoted(name)} cannot be the name of a module", _NAME_HINT)
        elif name in found:
            reading.add(item, f"{quoted(name)} is listed twice in {label}", "remove one of the two")
        else:
            found[name] = item
    return Preload(tuple(found.items()))


def check_preload(
    reading: Reading, modules: Iterable[tuple[str, Node]], programs: Programs, script: str, told: set[str]
) -> None:
    """What lies beside the script must be imported afresh: another snapshot may hold another version of it.

    `told` are the modules that a problem was reported for.
    """
    for name, node in modules:
        path = programs.module_beside(script, name.partition(".")[0])
        if path is not None and name not in told:
            told.add(name)
            message = f"{quoted(name)} is in the pipeline's folder ({path})"
            reading.add(node, message, "only installed packages can be preloaded; the script's own import finds it")


def _is_module_name(name: str) -> bool:
    parts = name.split(".")
    return (
        len(name) <= _MAX_CHARACTERS
        and name.isascii()
        and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
        and name != "__main__"
    )
