"""Written draws -> draws that can give nothing outside the declared type, bounds and choices."""

from __future__ import annotations

from pipeline_queue.contract.wording import counted
from pipeline_queue.loading.sweep.axes import VALUES, Written, read_arguments
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.model.parameters import BadValueError, check_bounds, text_of
from pipeline_queue.model.pipeline import Parameter, Value
from pipeline_queue.model.problems import listed
from pipeline_queue.space import Choice, Draw, LogUniform, Uniform, WholeNumber

DRAW_FORMS = {
    "uniform": "the lowest value and the highest",
    "loguniform": "the lowest value and the highest",
    "int": "the lowest value and the highest, both included",
    "choice": "values",
}

_TYPES = {"uniform": ("float",), "loguniform": ("float", "int"), "int": ("int",)}


def read_draw(findings: Findings, parameter: Parameter, written: Written) -> Draw | None:
    """The draw, or None with problems; plain values are a choice."""
    if written.kind in ("choice", VALUES):
        return _choice(findings, parameter, written)
    ends = None
    try:
        _check_form(parameter, written)
        ends = read_arguments(findings, parameter, written.args)
        return None if ends is None else _between(parameter, written.kind, ends)
    except BadValueError as error:
        findings.refuse(written.place, parameter.name, error)
        return None


def _choice(findings: Findings, parameter: Parameter, written: Written) -> Draw | None:
    if not written.args:
        findings.refuse(written.place, parameter.name, BadValueError("choice has no values", "list values"))
        return None
    values = findings.values(parameter, written.args)
    if values is None:
        return None
    kept = tuple(dict.fromkeys(values))
    findings.note_duplicates(written.place, len(values) - len(kept), "value", parameter.name)
    return Choice(kept)


def _check_form(parameter: Parameter, written: Written) -> None:
    kind = written.kind
    if parameter.type not in _TYPES[kind]:
        fitting = [form for form, types in _TYPES.items() if parameter.type in types]
        hint = written.hint or f"take {listed([*fitting, 'choice'])}"
        raise BadValueError(f"{kind} does not fit a parameter of type {parameter.type}", hint)
    if parameter.choices:
        hint = f"take choice of {listed(text_of(choice) for choice in parameter.choices)}"
        raise BadValueError(f"{kind} may give values that are not among the choices", hint)
    if len(written.args) != 2:
        raise BadValueError(f"{kind} takes {DRAW_FORMS[kind]}; here are {counted(len(written.args), 'value')}")


def _between(parameter: Parameter, kind: str, ends: list[Value]) -> Draw:
    low, high = ends
    assert not isinstance(low, str) and not isinstance(high, str)
    if low > high:
        raise BadValueError(f"the lowest value {text_of(low)} is above the highest {text_of(high)}", "swap them")
    check_bounds(parameter, low)
    check_bounds(parameter, high)
    if kind == "loguniform":
        if low <= 0:
            raise BadValueError("loguniform needs positive values", "take uniform, or a lowest value above 0")
        return LogUniform(low, high)
    if isinstance(low, int) and isinstance(high, int):
        return WholeNumber(low, high)
    return Uniform(float(low), float(high))
