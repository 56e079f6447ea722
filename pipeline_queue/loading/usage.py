"""Which declared parameters no step uses, and what in the commands was perhaps meant to use them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.fields import Reading
from pipeline_queue.loading.nodes import Scalar
from pipeline_queue.loading.placeholders import find_placeholders
from pipeline_queue.model.pipeline import Step
from pipeline_queue.model.problems import quoted

_MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Written:
    """A text of a step as it stands in the file; `label` names it in messages.

    `variables` are those that its shell or environment knows. In a `script`, values come as environment variables.
    """

    scalar: Scalar
    label: str
    variables: Collection[str] = ()
    script: bool = False


@dataclass
class Texts:
    """Collects the texts of all steps while they are read."""

    written: list[Written] = field(default_factory=list)


def used_parameters(steps: Sequence[Step]) -> frozenset[str]:
    """The parameters whose values reach any of these steps."""
    return frozenset(name for step in steps for name in step.parameters())


def warn_of_unused(
    reading: Reading, steps: Sequence[Step], places: Mapping[str, Place], texts: Texts
) -> dict[str, str]:
    """Adds the warnings; gives each unused parameter's name with what to do about it."""
    used = used_parameters(steps)
    hints: dict[str, str] = {}
    shown = 0
    for one in texts.written:
        for found in find_placeholders(one.scalar.text, places, one.variables):
            name = found.parameter
            place = reading.document.place_in(one.scalar, found.offset)
            right = f'"$PARAM_{name.upper().replace("-", "_")}"' if one.script else f"${{{{ parameters.{name} }}}}"
            remedy = f"write {right} for its value"
            if name not in used and name not in hints:
                hints[name] = f"{quoted(found.text)} at {place} is not replaced: {remedy}"
            elif name in used and shown < _MAX_SHOWN:
                shown += 1
                message = f"{quoted(found.text)} in {one.label} is not replaced by the value of {name!r}"
                reading.warnings.add(place, message, remedy)
    for name, place in places.items():
        if name in used:
            continue
        hint = hints.setdefault(
            name, f"write ${{{{ parameters.{name} }}}} in run, args or env of a step, or remove the parameter"
        )
        reading.warnings.add(place, f"no step uses the parameter {name!r}", hint)
    return {name: hint for name, hint in hints.items() if name not in used}
