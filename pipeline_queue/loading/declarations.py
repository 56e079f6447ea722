"""Reads the `parameters:` of a pipeline file: the declared type reads every value from its source text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pipeline_queue.contract.errors import Place
from pipeline_queue.contract.wording import counted
from pipeline_queue.loading.fields import HELP_KEYS, Entry, Fields, Reading, read_entries
from pipeline_queue.loading.nodes import Node, Scalar, Sequence, size_of
from pipeline_queue.model.parameters import TYPE_WORDS, BadValueError, check_bounds, from_python, text_of, type_of_word
from pipeline_queue.model.pipeline import Parameter, ParameterType, Value
from pipeline_queue.model.problems import quoted

MAX_PARAMETERS = 200
MAX_CHOICES = 1_000

_KEYS = ("type", "default", "min", "max", "choices", *HELP_KEYS)
_DEFAULT_HINT = "write '' for an empty string, or remove the line to make the parameter required"
_TYPE_HINT = "add `type: float`, int, bool or string"
_LIST_TYPE_HINT = "write `list of float`, `list of int`, `list of bool` or `list of string`"


@dataclass(frozen=True)
class Declared:
    """The parameters that are right, and the places of all that have a name, right or wrong.

    `names` is what references are checked against; None when some names could not be read.
    """

    parameters: tuple[Parameter, ...]
    places: dict[str, Place]
    names: Collection[str] | None


def read_parameters(reading: Reading, node: Node | None) -> Declared:
    if node is None:
        return Declared((), {}, ())
    entries = read_entries(reading, node, "parameter", _KEYS, MAX_PARAMETERS)
    parameters = [_read_parameter(reading, entry) for entry in entries]
    places: dict[str, Place] = {}
    for entry in entries:
        if entry.name is not None:
            places.setdefault(entry.name, reading.document.place(entry.node))
    all_read = len(entries) == size_of(node) and all(entry.name is not None for entry in entries)
    right = tuple(parameter for parameter in parameters if parameter is not None)
    return Declared(right, places, places if all_read else None)


def _read_parameter(reading: Reading, entry: Entry) -> Parameter | None:
    """The parameter, or None when too little of it is right to go on."""
    if entry.body is None:
        return None
    fields = Fields(reading, entry.body, entry.owner, _KEYS)
    help_text = fields.help()
    parameter_type = _read_type(fields, entry)
    if parameter_type is None or entry.name is None:
        return None
    parameter = Parameter(name=entry.name, type=parameter_type, help=help_text)
    limits = _with_choices(fields, _with_bounds(fields, parameter.member))
    parameter = parameter.model_copy(update={"min": limits.min, "max": limits.max, "choices": limits.choices})
    default = fields.get("default")
    if default is None:
        return parameter
    value = _read_typed(fields, "default", default, parameter, _DEFAULT_HINT)
    if value is None or not _is_within(fields, "default", default, parameter, value):
        return None
    return parameter.model_copy(update={"default": value})


def _read_type(fields: Fields, entry: Entry) -> ParameterType | None:
    node = fields.get("type")
    if node is None:
        fields.reading.add(entry.node, f"{entry.owner} has no type", _TYPE_HINT)
        return None
    word = fields.reading.text(node, fields.label("type"), _TYPE_HINT)
    if word is None:
        return None
    parameter_type = type_of_word(word)
    if parameter_type is None:
        place = fields.reading.document.place(node)
        message = f"{quoted(word)} is not a type"
        if word.startswith(("list", "array")):
            fields.reading.problems.add(place, message, _LIST_TYPE_HINT)
        else:
            fields.reading.problems.add_unknown(place, message, word, TYPE_WORDS, "types")
    return parameter_type


def _with_bounds(fields: Fields, parameter: Parameter) -> Parameter:
    bounds: dict[str, Value] = {}
    for key in ("min", "max"):
        node = fields.get(key)
        if node is None:
            continue
        if parameter.type not in ("float", "int"):
            message = f"{fields.label(key)} makes no sense for a {parameter.type}"
            fields.reading.add(node, message, "only numbers have bounds; remove it, or use choices")
            continue
        value = _read_typed(fields, key, node, parameter)
        if value is not None:
            bounds[key] = value
    least, most, node = bounds.get("min"), bounds.get("max"), fields.get("max")
    if isinstance(least, int | float) and isinstance(most, int | float) and node and least > most:
        message = f"the maximum {text_of(most)} is below the minimum {text_of(least)}"
        fields.reading.add(node, message, "swap them")
        return parameter
    return parameter.model_copy(update=bounds)


def _with_choices(fields: Fields, parameter: Parameter) -> Parameter:
    node = fields.get("choices")
    if node is None:
        return parameter
    label = fields.label("choices")
    items = fields.reading.items(node, label)
    if not items and not (isinstance(node, Scalar) and not node.is_null):
        fields.reading.add(node, f"{label} is empty", "list the values, or remove the line")
    if len(items) > MAX_CHOICES:
        fields.reading.add(node, f"{label} has {counted(len(items), 'value')}; at most {MAX_CHOICES:,} are allowed")
    choices: dict[Value, None] = {}
    for item in items[:MAX_CHOICES]:
        value = _read_typed(fields, "choices", item, parameter, "write '' for an empty string")
        if value is None or not _is_within(fields, "choices", item, parameter, value):
            continue
        if value in choices:
            fields.reading.add(item, f"duplicate value {quoted(text_of(value))} in {label}", "remove one of the two")
        choices[value] = None
    return parameter.model_copy(update={"choices": tuple(choices)})


def _is_within(fields: Fields, key: str, node: Node, parameter: Parameter, value: Value) -> bool:
    try:
        check_bounds(parameter, value)
    except BadValueError as error:
        fields.reading.add(node, f"{fields.label(key)}: {error.message}", error.hint)
        return False
    return True


def _read_typed(fields: Fields, key: str, node: Node, parameter: Parameter, hint: str = "") -> Value | None:
    label = fields.label(key)
    if parameter.is_list and isinstance(node, Sequence):
        text: str | None = fields.reading.list_text(node, label, "write '' for an empty string")
    else:
        text = fields.reading.text(node, label, hint)
    if text is None:
        return None
    try:
        return from_python(parameter, text)
    except BadValueError as error:
        fields.reading.add(node, f"{fields.label(key)}: {error.message}", error.hint)
        return None
