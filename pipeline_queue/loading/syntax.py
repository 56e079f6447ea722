"""Composes nodes from YAML events without recursion; rejects files that are too large or ambiguous."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.nodes import Mapping, Node, Scalar, Sequence, kind_of
from pipeline_queue.loading.source import Source
from pipeline_queue.loading.syntax_errors import add_syntax_problem
from pipeline_queue.model.problems import Problems, quoted

MAX_DEPTH = 30
MAX_NODES = 50_000
MAX_ALIASES = 100
# What aliases repeat counts as if it were written out.
MAX_CHARACTERS = 1024 * 1024 + 256 * 1024

_MERGE_KEY = "<<"
_SURROGATE = re.compile("[\ud800-\udfff]")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _RefusedError(Exception):
    """The rest of the file cannot be read; the problem is recorded already."""


@dataclass(slots=True)
class _Frame:
    """A collection that is still open; counts are those of the whole file when it was opened."""

    is_mapping: bool
    start: int
    anchor: str | None
    nodes_before: int
    characters_before: int
    height: int = 1
    items: list[Node] = field(default_factory=list)
    keys: dict[str, Scalar] = field(default_factory=dict)
    values: list[tuple[Scalar, Node]] = field(default_factory=list)
    merged: list[Node] = field(default_factory=list)
    key: Scalar | None = None
    key_read: bool = False


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    nodes: int
    characters: int
    height: int


def compose(source: Source, problems: Problems) -> Node | None:
    """The root node of the source, or None with the reason among the problems."""
    composer = _Composer(source, problems)
    try:
        for event in yaml.parse(source.text, Loader=_Loader):
            composer.take(event)
    except _RefusedError:
        return None
    except yaml.MarkedYAMLError as error:
        add_syntax_problem(error, source, problems)
        return None
    except (yaml.YAMLError, ValueError) as error:
        # The text was checked for everything a reader refuses, so this has no better place to give.
        problems.add(source.place(0), f"invalid YAML: {error}")
        return None
    if composer.root is None or (isinstance(composer.root, Scalar) and composer.root.is_null):
        problems.add(source.place(0), "the file is empty", "write a mapping, such as `name: value`")
        return None
    return composer.root


class _Composer:
    def __init__(self, source: Source, problems: Problems) -> None:
        self.root: Node | None = None
        self._source = source
        self._problems = problems
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._documents = self._nodes = self._characters = self._aliases = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._take_alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "a second document begins here", "keep one document in a file: remove `---`")

    def _take_scalar(self, event: Any) -> None:
        self._check_tag(event)
        start, end = event.start_mark.index, event.end_mark.index
        line, column = self._source.line_and_column(start)
        text: str = event.value
        if "\0" in text or _SURROGATE.search(text):
            kind = "a NUL character" if "\0" in text else "half of a surrogate pair"
            self._problems.add(
                self._source.place(start),
                f"this text contains {kind}, which cannot be passed to a program",
                "remove it",
            )
            text = _SURROGATE.sub("?", text.replace("\0", "?"))
        if event.style in ("|", ">"):
            # A comment after the indicator is no part of the text.
            start = self._source.text.find("\n", start, end) + 1 or start
        node = Scalar(text, event.style in ("", None), line, column, start, end)
        self._spend(event, 1, len(text))
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, 1, len(text), 0)
        self._attach(node, event)

    def _open(self, event: Any) -> None:
        self._check_tag(event)
        if len(self._stack) >= MAX_DEPTH:
            self._refuse_depth(event)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        frame = _Frame(is_mapping, event.start_mark.index, event.anchor, self._nodes, self._characters)
        self._spend(event, 1, 0)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(frame)

    def _close(self) -> None:
        frame = self._stack.pop()
        line, column = self._source.line_and_column(frame.start)
        node: Node
        if frame.is_mapping:
            node = Mapping((*frame.values, *self._merge(frame)), line, column)
        else:
            node = Sequence(tuple(frame.items), line, column)
        if frame.anchor is not None:
            nodes, characters = self._nodes - frame.nodes_before, self._characters - frame.characters_before
            self._anchors[frame.anchor] = _Anchored(node, nodes, characters, frame.height)
        if self._stack:
            self._stack[-1].height = max(self._stack[-1].height, frame.height + 1)
        self._attach(node)

    def _take_alias(self, event: Any) -> None:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self._refuse(event, f"the file has more than {MAX_ALIASES} aliases", "write the values out")
        name = event.anchor
        if name not in self._anchors:
            self._refuse(
                event,
                f"no anchor {quoted(name)} before this alias",
                "define it first, or quote the *",
            )
        anchored = self._anchors[name]
        if anchored is None:
            self._refuse(event, f"the alias {quoted(name)} stands inside the anchor it repeats", "write the value out")
        if len(self._stack) + anchored.height > MAX_DEPTH:
            self._refuse_depth(event)
        self._spend(event, anchored.nodes, anchored.characters)
        if self._stack:
            self._stack[-1].height = max(self._stack[-1].height, anchored.height + 1)
        self._attach(anchored.node, event)

    def _attach(self, node: Node, event: Any = None) -> None:
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        if not frame.is_mapping:
            frame.items.append(node)
        elif not frame.key_read:
            frame.key_read = True
            frame.key = self._checked_key(frame, node, event)
        else:
            if frame.key is not None and frame.key.plain and frame.key.text == _MERGE_KEY:
                frame.merged += node.items if isinstance(node, Sequence) else (node,)
            elif frame.key is not None:
                frame.values.append((frame.key, node))
            frame.key_read, frame.key = False, None

    def _checked_key(self, frame: _Frame, node: Node, event: Any) -> Scalar | None:
        """The key at its own place, or None when its value is to be dropped."""
        if not isinstance(node, Scalar):
            place = Place(self._source.name, node.line, node.column)
            message = f"a key must be a single word, not {kind_of(node)}"
            self._problems.add(place, message, "name it in plain text")
            return None
        first = frame.keys.get(node.text)
        if first is not None:
            self._problems.add(
                self._source.place(event.start_mark.index),
                f"duplicate key {quoted(node.text)}; the first is on line {first.line}",
                "remove one of the two",
            )
            return None
        frame.keys[node.text] = node
        return node

    def _merge(self, frame: _Frame) -> list[tuple[Scalar, Node]]:
        """The entries that `<<` brings in: own keys win, then the mapping named first."""
        entries: list[tuple[Scalar, Node]] = []
        for node in frame.merged:
            if not isinstance(node, Mapping):
                self._problems.add(
                    self._source.place(frame.keys[_MERGE_KEY].start),
                    f"`<<` takes a mapping or a list of mappings, not {kind_of(node)}",
                    "merge an alias such as `<<: *defaults`",
                )
                continue
            for key, value in node.entries:
                if key.text not in frame.keys:
                    frame.keys[key.text] = key
                    entries.append((key, value))
        return entries

    def _spend(self, event: Any, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES:
            self._refuse(event, f"the file has more than {MAX_NODES:,} values", "aliases count as if written out")
        if self._characters > MAX_CHARACTERS:
            message = f"the texts of the file exceed {MAX_CHARACTERS:,} characters in total"
            self._refuse(event, message, "aliases count as if written out")

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None:
            message = f"the tag {quoted(event.tag)} is not allowed"
            place = self._source.place(event.start_mark.index)
            self._problems.add(place, message, "remove it, or put the text in quotes if it begins with `!`")

    def _refuse_depth(self, event: Any) -> NoReturn:
        self._refuse(event, f"the nesting is deeper than {MAX_DEPTH} levels", "a pipeline needs about five")

    def _refuse(self, event: Any, message: str, hint: str) -> NoReturn:
        self._problems.add(self._source.place(event.start_mark.index), message, hint)
        raise _RefusedError
