"""What was found while reading a sweep: problems, and notes on what was put right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline_queue.contract.errors import Place
from pipeline_queue.model.parameters import BadValueError, Given, read_given
from pipeline_queue.model.pipeline import Parameter, Value
from pipeline_queue.model.problems import Problems, quoted


@dataclass(frozen=True)
class Findings:
    """Grows while a sweep is read."""

    problems: Problems = field(default_factory=Problems)
    notes: list[str] = field(default_factory=list)

    def refuse(self, place: Place, name: str, error: BadValueError) -> None:
        self.problems.add(place, f"parameter {name}: {error.message}", error.hint)

    def note_duplicates(self, place: Place, count: int, kind: str, of: str = "") -> None:
        """Nothing when the count is 0; `kind` is in the singular."""
        if count:
            owner = f"{of}: " if of else ""
            self.notes.append(
                f"{place}: {owner}{count:,} duplicate {kind}{' was' if count == 1 else 's were'} left out"
            )

    def note_left_out(self, place: Place, count: int, noun: str, of: str) -> None:
        """Nothing when the count is 0; `noun` is in the singular."""
        if count:
            self.notes.append(f"{place}: {count:,} {noun}{'' if count == 1 else 's'} {of} left out")

    def declared(self, place: Place, name: str, parameters: Mapping[str, Parameter]) -> Parameter | None:
        """The parameter of that name, or None with a problem."""
        if name not in parameters:
            message = f"unknown parameter {quoted(name)}"
            self.problems.add_unknown(place, message, name, parameters, "declared parameters")
        return parameters.get(name)

    def values(self, parameter: Parameter, given: Iterable[Given]) -> list[Value] | None:
        """The checked values, or None when any is wrong."""
        values: list[Value] = []
        is_right = True
        for one in given:
            try:
                values.append(read_given(parameter, one))
            except BadValueError as error:
                is_right = False
                self.refuse(one.place, parameter.name, error)
        return values if is_right else None
