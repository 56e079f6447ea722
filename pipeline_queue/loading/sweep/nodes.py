"""Reads the parts of a `sweep:`: axes as they are written, points that name some parameters, numbers and words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.document import Document
from pipeline_queue.loading.fields import Reading
from pipeline_queue.loading.nodes import Mapping as MappingNode
from pipeline_queue.loading.nodes import Node, Scalar, Sequence, kind_of
from pipeline_queue.loading.sweep.axes import VALUES, Written
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.model.parameters import BadValueError, Given, read_given
from pipeline_queue.model.pipeline import Parameter, Value
from pipeline_queue.model.problems import quoted


@dataclass(frozen=True, slots=True)
class PartialPoint:
    """Checked values of some parameters."""

    values: Mapping[str, Value]
    place: Place


class SweepNodes:
    """Reads nodes of one file for one set of declared parameters."""

    def __init__(self, document: Document, findings: Findings, parameters: Mapping[str, Parameter]) -> None:
        self.findings = findings
        self.parameters = parameters
        self.reading = Reading(document, findings.problems)

    def place(self, node: Node) -> Place:
        return self.reading.document.place(node)

    def members(self, node: Node, what: str, example: str) -> Iterator[tuple[Parameter, Scalar, Node]]:
        """The entries of a mapping of parameters, as far as they are declared."""
        if not isinstance(node, MappingNode):
            self.reading.add(node, f"{what} must be a mapping, not {kind_of(node)}", f"write {example}")
            return
        for key, value in node.entries:
            parameter = self.findings.declared(self.place(key), key.text, self.parameters)
            if parameter is not None:
                yield parameter, key, value

    def written(self, parameter: Parameter, node: Node, forms: Mapping[str, str]) -> Written | None:
        """An axis or a draw, not read yet."""
        what = f"the values of {parameter.name!r}"
        if isinstance(node, MappingNode):
            return self._form(parameter, node, what, forms)
        if isinstance(node, Scalar) and parameter.type != "string":
            form, bracket, _ = node.text.partition("(")
            if bracket and form.strip() in forms:
                self.reading.add(node, f"{form}(…) is command-line syntax", f"write {{{form}: […]}}")
                return None
        items = self._texts(parameter, node.items if isinstance(node, Sequence) else (node,), what)
        return None if items is None else Written(VALUES, items, self.place(node))

    def texts_of_point(self, node: Node, what: str) -> dict[str, str]:
        """The texts of a point that names some parameters, as far as they are right."""
        texts: dict[str, str] = {}
        for parameter, _, value in self.members(node, what, "{name: value}"):
            text = self._text(parameter, value, f"the value of {parameter.name!r}")
            if text is not None:
                texts[parameter.name] = text
        return texts

    def partial_points(self, node: Node, what: str) -> tuple[PartialPoint, ...]:
        """Points that name some parameters, as far as they are right."""
        points: list[PartialPoint] = []
        for item in self.reading.items(node, f"{what} of the sweep"):
            values: dict[str, Value] = {}
            for parameter, _, value in self.members(item, f"a point of {what}", "{name: value}"):
                given = self._texts(parameter, (value,), f"the value of {parameter.name!r}") or ()
                for read in self.findings.values(parameter, given) or ():
                    values[parameter.name] = read
            if isinstance(item, MappingNode) and not item.entries:
                self.reading.add(item, f"a point of {what} names no parameter", "write {name: value}")
            points.append(PartialPoint(values, self.place(item)))
        return tuple(points)

    def setting(self, parameter: Parameter, node: Node, owner: str) -> Value | None:
        """A number or word of the sweep itself, read like a parameter."""
        what = f"{parameter.name} of {owner}"
        text = self.reading.text(node, what)
        if text is None:
            return None
        try:
            return read_given(parameter, Given(text, self.place(node)))
        except BadValueError as error:
            self.reading.add(node, f"{what}: {error.message}", error.hint)
            return None

    def _text(self, parameter: Parameter, node: Node, what: str) -> str | None:
        """A value as it was written, that of a list as JSON."""
        if parameter.is_list and isinstance(node, Sequence):
            return self.reading.list_text(node, what)
        return self.reading.text(node, what)

    def _texts(self, parameter: Parameter, items: tuple[Node, ...], what: str) -> tuple[Given, ...] | None:
        """Single values with their places, None when any is something else."""
        texts = [(self._text(parameter, item, what), self.place(item)) for item in items]
        given = tuple(Given(text, place) for text, place in texts if text is not None)
        return given if len(given) == len(items) else None

    def _form(self, parameter: Parameter, node: MappingNode, what: str, forms: Mapping[str, str]) -> Written | None:
        if len(node.entries) != 1:
            self.reading.add(node, f"{what} must be a list or have one key", f"keys: {', '.join(forms)}")
            return None
        ((key, value),) = node.entries
        if key.text not in forms:
            message = f"{what} cannot be {quoted(key.text)}"
            self.reading.problems.add_unknown(self.place(key), message, key.text, forms, "allowed keys")
            return None
        if not isinstance(value, Sequence):
            hint = f"write {{{key.text}: […]}} with {forms[key.text]}"
            self.reading.add(value, f"{key.text} takes a list, not {kind_of(value)}", hint)
            return None
        items = self._texts(parameter, value.items, what)
        return None if items is None else Written(key.text, items, self.place(key))
