"""The nodes of a YAML file: scalars with their source text, sequences and mappings, each with its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text. `plain` says it has no quotes; `start` and `end` are where it stands in the source."""

    text: str
    plain: bool
    line: int
    column: int
    start: int
    end: int

    @property
    def is_null(self) -> bool:
        """Nothing was written, or one of YAML's words for nothing without quotes."""
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """Entries in the order of the file; no key occurs twice."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int

    def get(self, name: str) -> Node | None:
        return next((value for key, value in self.entries if key.text == name), None)


Node = Scalar | Sequence | Mapping


def kind_of(node: Node) -> str:
    """What a message calls this node."""
    if isinstance(node, Scalar):
        return "nothing" if node.is_null else "a single value"
    return "a list" if isinstance(node, Sequence) else "a mapping"


def size_of(node: Node) -> int:
    """How many things stand directly in this node; nothing written is none."""
    if isinstance(node, Scalar):
        return 0 if node.is_null else 1
    return len(node.items if isinstance(node, Sequence) else node.entries)
