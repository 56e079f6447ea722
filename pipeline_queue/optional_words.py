"""Words of a command that are there when a condition on the run's parameters holds: a switch, an optional argument.

if:  parameters.augment            true, a text or list that is not empty, a number that is not 0
     not parameters.augment
     parameters.epochs > 10 and parameters.optimizer in (sgd, adam)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from pipeline_queue import conditions
from pipeline_queue.pipeline import OptionalWords, Template, Value

_SCOPE = "parameters."
_ALONE = re.compile(r"(?P<negated>not\s+)?parameters\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)")


def parameters_of(condition: str, declared: Collection[str] | None) -> tuple[str, ...]:
    """The parameters that a condition asks for, in their order; raises InputError for what is no condition.

    With `declared`, another parameter is an error too.
    """
    names = None if declared is None else [f"{_SCOPE}{name}" for name in declared]
    alone = _ALONE.fullmatch(condition.strip())
    if alone:
        # Read as a comparison, so that an unknown name has one message.
        condition = f"{_SCOPE}{alone['name']} = x"
    asked = conditions.parse(condition, names).names()
    return tuple(name.removeprefix(_SCOPE) for name in asked)


def with_lists_compared(condition: str, lists: Collection[str]) -> str:
    """The condition with a list that stands alone compared with the empty one, whose text is not empty."""
    alone = _ALONE.fullmatch(condition.strip())
    if not alone or alone["name"] not in lists:
        return condition
    return f"{_SCOPE}{alone['name']} {'=' if alone['negated'] else '!='} []"


def chosen_words(words: OptionalWords, values: Mapping[str, Value]) -> tuple[Template, ...]:
    """The words that are there with these values."""
    return words.then if _holds(words.condition, values) else words.otherwise


def _holds(condition: str, values: Mapping[str, Value]) -> bool:
    alone = _ALONE.fullmatch(condition.strip())
    if alone:
        return bool(values[alone["name"]]) != bool(alone["negated"])
    return conditions.parse(condition, None).holds({f"{_SCOPE}{name}": value for name, value in values.items()})
