"""Words of a command that are there when a condition on the run's parameters holds: a switch, an optional argument.

if:  parameters.augment            true, a text or list that is not empty, a number that is not 0
     not parameters.augment
     parameters.augment and parameters.epochs > 10 and parameters.optimizer in (sgd, adam)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipeline_queue.model import conditions
from pipeline_queue.model.parameters import BadValueError, check_bounds, read_value
from pipeline_queue.model.pipeline import OptionalWords, Parameter, Template, Value

_SCOPE = "parameters."


class _ListText(str):
    """The text of a list, which is true unless the list is empty."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return self != "[]"


def parameters_of(condition: str, declared: Collection[str] | None) -> tuple[str, ...]:
    """The parameters that a condition asks for, in their order; raises InputError for what is no condition.

    With `declared`, another parameter is an error too.
    """
    names = None if declared is None else [f"{_SCOPE}{name}" for name in declared]
    asked = conditions.parse(condition, names, may_stand_alone=True).names()
    return tuple(name.removeprefix(_SCOPE) for name in asked)


def check_literals(condition: str, parameters: Mapping[str, Parameter]) -> None:
    """Raises BadValueError for a value that its parameter can never have, so that nothing depends on it."""
    for name, text in conditions.parse(condition, None, may_stand_alone=True).literals():
        parameter = parameters.get(name.removeprefix(_SCOPE))
        if parameter is None:
            continue
        # An int may be compared with 2.5, and either with what is out of bounds.
        plain = parameter.model_copy(update={"type": "float"} if parameter.type == "int" else {})
        try:
            value = read_value(plain, text)
            if parameter.choices and not parameter.is_list:
                check_bounds(plain.model_copy(update={"min": None, "max": None}), value)
        except BadValueError as error:
            raise BadValueError(f"{name} is never {text!r}: {error.message}", error.hint) from None


def chosen_words(words: OptionalWords, values: Mapping[str, Value]) -> tuple[Template, ...]:
    """The words that are there with these values."""
    return words.then if _holds(words, values) else words.otherwise


def _holds(words: OptionalWords, values: Mapping[str, Value]) -> bool:
    row = {f"{_SCOPE}{name}": _ListText(values[name]) if name in words.lists else values[name] for name in words.asks}
    return conditions.parse(words.condition, None, may_stand_alone=True).holds(row)
