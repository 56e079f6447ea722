"""Reads the fields of YAML mappings and records their problems, for every part of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline_queue.loading.document import Document
from pipeline_queue.loading.nodes import Mapping, Node, Scalar, Sequence, kind_of
from pipeline_queue.model.expressions import TemplateError, first_expression_offset, parse_template
from pipeline_queue.model.list_values import list_text
from pipeline_queue.model.parameters import ListText
from pipeline_queue.model.problems import Problems, listed, quoted

MAX_HELP_CHARACTERS = 10_000
HELP_KEYS = ("help", "description")

_EXPRESSION_HINT = "expressions are allowed in run, args and env only; $${{ is a literal ${{"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_NAME_RULE = "a name is a letter or _, then letters, digits, _ or -, at most 64 in all"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Reading:
    """One file being read: its places, and what was found in it so far."""

    document: Document
    problems: Problems
    warnings: Problems = field(default_factory=Problems)
    """What is valid but perhaps not intended."""

    def add(self, node: Node, message: str, hint: str = "") -> None:
        self.problems.add(self.document.place(node), message, hint)

    def scalar(self, node: Node, what: str, hint: str = "") -> Scalar | None:
        """The node as a scalar with a value; `what` names it in messages."""
        if not isinstance(node, Scalar):
            self.add(node, f"{what} must be a single value, not {kind_of(node)}", hint)
            return None
        if node.is_null:
            nothing = f"is {node.text}, which means no value" if node.text else "has no value"
            self.add(node, f"{what} {nothing}", hint or "write a value, or remove the line")
            return None
        return node

    def text(self, node: Node, what: str, hint: str = "") -> str | None:
        """A scalar's text where no expression is allowed."""
        scalar = self.scalar(node, what, hint)
        if scalar is None:
            return None
        if "${{" not in scalar.text:
            return scalar.text
        template = self.template(scalar, parse_template)
        if template is None:
            return None
        literals = [part for part in template if isinstance(part, str)]
        if len(literals) == len(template):
            return "".join(literals)
        place = self.document.place_in(scalar, first_expression_offset(scalar.text))
        self.problems.add(place, f"an expression is not allowed in {what}", _EXPRESSION_HINT)
        return None

    def list_text(self, node: Sequence, what: str, hint: str = "") -> ListText | None:
        """A list of single values as the JSON text of what was written."""
        texts = [self.text(item, f"a value in {what}", hint) for item in node.items]
        written = [text for text in texts if text is not None]
        return ListText(list_text(written)) if len(written) == len(texts) else None

    def template(self, scalar: Scalar | None, parse: Callable[[str], _T]) -> _T | None:
        """What `parse` makes of the scalar's text; the problems it raises get their places."""
        # Wording thousands of wrong expressions that nobody sees would take seconds.
        if scalar is None or self.problems.are_enough:
            return None
        try:
            return parse(scalar.text)
        except TemplateError as error:
            for problem in error.problems:
                place = self.document.place_in(scalar, problem.offset)
                self.problems.add(place, problem.message, problem.hint)
            return None

    def name(self, node: Node, what: str) -> str | None:
        """A scalar that follows the rule for names."""
        text = self.text(node, what)
        if text is not None and not _NAME.fullmatch(text):
            self.add(node, f"{quoted(text)} cannot be {what}", _NAME_RULE)
            return None
        return text

    def items(self, node: Node, what: str) -> tuple[Node, ...]:
        """The items of a list; nothing written is an empty list."""
        if isinstance(node, Sequence):
            return node.items
        if not (isinstance(node, Scalar) and node.is_null):
            self.add(node, f"{what} must be a list, not {kind_of(node)}", "write it as [first, second]")
        return ()


class Fields:
    """The fields of one mapping; the constructor reports keys that are not allowed."""

    def __init__(self, reading: Reading, mapping: Mapping, owner: str, allowed: tuple[str, ...]) -> None:
        self.reading = reading
        self.owner = owner
        self._values: dict[str, Node] = {}
        for key, value in mapping.entries:
            if key.text in allowed:
                self._values[key.text] = value
                continue
            message = f"unknown key {quoted(key.text)} in {owner}"
            place = reading.document.place(key)
            reading.problems.add_unknown(place, message, key.text, allowed, "allowed keys")

    def get(self, key: str) -> Node | None:
        return self._values.get(key)

    def label(self, key: str) -> str:
        """What messages call this field."""
        return f"{key} of {self.owner}"

    def help(self) -> str:
        written = [(key, self._values[key]) for key in HELP_KEYS if key in self._values]
        if not written:
            return ""
        key, node = written[0]
        if len(written) > 1:
            self.reading.add(written[1][1], f"{self.owner} has both help and description", "keep one of them")
        if isinstance(node, Scalar) and node.is_null:
            return ""
        text = self.reading.text(node, self.label(key)) or ""
        if len(text) > MAX_HELP_CHARACTERS:
            self.reading.add(node, f"{self.label(key)} is longer than {MAX_HELP_CHARACTERS:,} characters")
        return text


@dataclass(frozen=True, slots=True)
class Entry:
    """One named thing of a list or mapping of them; `name` and `body` are None when they were rejected."""

    name: str | None
    node: Node
    body: Mapping | None
    owner: str


def read_entries(reading: Reading, node: Node, kind: str, keys: tuple[str, ...], most: int) -> list[Entry]:
    """The steps or parameters of a node, in any of the three forms, with their names checked.

    The forms: a list of one-key mappings, a list of mappings with `name:`, a mapping of names.
    """
    named = list(_named_bodies(reading, node, kind, keys, most))
    first: dict[str, Scalar] = {}
    entries: list[Entry] = []
    for name_node, body in named:
        name = reading.name(name_node, f"the name of a {kind}")
        owner = kind if name is None else f"{kind} {name!r}"
        if name is not None and name in first:
            place = reading.document.place(first[name])
            reading.add(name_node, f"duplicate {owner}; the first is at {place}", "rename one of them")
        elif name is not None:
            first[name] = name_node
        entries.append(Entry(name, name_node, body, owner))
    return entries


def _named_bodies(
    reading: Reading, node: Node, kind: str, keys: tuple[str, ...], most: int
) -> Iterator[tuple[Scalar, Mapping | None]]:
    if isinstance(node, Scalar):
        if not node.is_null:
            reading.add(node, f"{kind}s must be a list or a mapping of names", f"write `- name: …` for each {kind}")
        return
    members = node.items if isinstance(node, Sequence) else node.entries
    if len(members) > most:
        reading.add(node, f"there are {len(members):,} {kind}s; at most {most} are allowed", "split the pipeline")
    for member in members[:most]:
        if isinstance(member, tuple):
            key, value = member
            yield key, _body(reading, key, value, kind)
        else:
            yield from _named_item(reading, member, kind, keys)


def _named_item(
    reading: Reading, item: Node, kind: str, keys: tuple[str, ...]
) -> Iterator[tuple[Scalar, Mapping | None]]:
    if not isinstance(item, Mapping) or not item.entries:
        shown = f" {quoted(item.text)}" if isinstance(item, Scalar) and not item.is_null else ""
        hint = f"write `- name: …` with the keys of the {kind} below it"
        reading.add(item, f"the {kind}{shown} must be a mapping, not {kind_of(item)}", hint)
        return
    key, value = item.entries[0]
    known = key.text in ("name", *keys)
    if len(item.entries) == 1 and (isinstance(value, Mapping) or not known):
        yield key, _body(reading, key, value, kind)
        return
    name = item.get("name")
    rest = Mapping(tuple(entry for entry in item.entries if entry[0].text != "name"), item.line, item.column)
    if isinstance(name, Scalar):
        yield name, rest
    elif name is not None:
        reading.add(name, f"the name of a {kind} must be a single word, not {kind_of(name)}")
    elif not known and isinstance(value, Scalar) and value.is_null:
        others = listed(other.text for other, _ in item.entries[1:])
        hint = f"indent {others} further than {quoted(key.text)}"
        reading.add(key, f"the {kind} {quoted(key.text)} has its keys beside it, not below it", hint)
    else:
        reading.add(item, f"a {kind} has no name", f"add `name: …`, or write `- {kind}_name:` and its keys below")


def _body(reading: Reading, key: Scalar, value: Node, kind: str) -> Mapping | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Scalar) and value.is_null:
        return Mapping((), key.line, key.column)
    example = f"{key.text}: {{run: …}}" if kind == "step" else f"{key.text}: {{type: …}}"
    hint = f"write `{example}`" if _NAME.fullmatch(key.text) else ""
    reading.add(value, f"the {kind} {quoted(key.text)} must be a mapping, not {kind_of(value)}", hint)
    return None
