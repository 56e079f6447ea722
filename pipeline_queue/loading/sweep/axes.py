"""Written axes -> typed axes, every value of which is of the declared type and within bounds and choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from pipeline_queue.contract.errors import Place
from pipeline_queue.contract.wording import counted
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.model.parameters import BadValueError, Given, check_bounds, from_python, text_of
from pipeline_queue.model.pipeline import Parameter, Value
from pipeline_queue.space import Axis, Linspace, Logspace, Range, Values
from pipeline_queue.space.exact import ratio

VALUES = "values"
AXIS_FORMS = {
    "range": "start, stop (not included) and step",
    "linspace": "the first value, the last and how many",
    "logspace": "the first value, the last and how many",
}
MAX_COUNT = 10**15
MAX_WHOLE_LOGSPACE = 20_000
"""Its values must be compared with each other, at 30 microseconds each."""
MAX_COUNT_WITH_CHOICES = 100_000
MAX_REPEATING = 1_000_000
"""Rows of a zip must be compared with each other where an axis of its own does not tell them apart."""

_HOW_MANY = Parameter(name="count", type="int", min=1, max=MAX_COUNT)
_CLOSEST = 1e-11
"""Relative distance of neighbours that rounding to 12 digits cannot make equal."""


@dataclass(frozen=True, slots=True)
class Written:
    """An axis or a draw as somebody wrote it: `kind` is `VALUES` or the name of a form; `args` are not read yet."""

    kind: str
    args: tuple[Given, ...]
    place: Place
    hint: str = ""


@dataclass(frozen=True, slots=True)
class _Made:
    axis: Axis
    duplicates: int = 0


def read_axis(findings: Findings, parameter: Parameter, written: Written, distinct: bool = True) -> Axis | None:
    """The axis, or None with problems. `distinct` leaves duplicates out, with a note; a zip needs them."""
    made = _explicit(findings, parameter, written, distinct)
    if written.kind != VALUES:
        made = _computed(findings, parameter, written, distinct)
    if made is None:
        return None
    findings.note_duplicates(written.place, made.duplicates, "value", parameter.name)
    return made.axis


def read_arguments(findings: Findings, parameter: Parameter, given: tuple[Given, ...]) -> list[Value] | None:
    """Values of the declared type, within bounds or not; None with problems."""
    values: list[Value] = []
    for one in given:
        try:
            values.append(from_python(parameter, one.value))
        except BadValueError as error:
            findings.refuse(one.place, parameter.name, error)
    return values if len(values) == len(given) else None


def _explicit(findings: Findings, parameter: Parameter, written: Written, distinct: bool) -> _Made | None:
    if written.kind != VALUES:
        return None
    if not written.args:
        findings.refuse(written.place, parameter.name, BadValueError("the list has no values", "list at least one"))
        return None
    values = findings.values(parameter, written.args)
    if values is None:
        return None
    kept = list(dict.fromkeys(values)) if distinct else values
    return _Made(Values(tuple(kept)), len(values) - len(kept))


def _computed(findings: Findings, parameter: Parameter, written: Written, distinct: bool) -> _Made | None:
    name, args = parameter.name, written.args
    if parameter.type not in ("int", "float"):
        error = BadValueError(f"{written.kind} gives numbers, but this is a {parameter.type}", written.hint)
        findings.refuse(written.place, name, error)
        return None
    fewest = 1 if written.kind == "range" else 3
    if not fewest <= len(args) <= 3:
        error = BadValueError(
            f"{written.kind} takes {AXIS_FORMS[written.kind]}; here are {counted(len(args), 'value')}"
        )
        findings.refuse(written.place, name, error)
        return None
    ends = read_arguments(findings, parameter, args if written.kind == "range" else args[:2])
    try:
        how_many = [] if written.kind == "range" else [_how_many(args[2])]
        if ends is None:
            return None
        made = _MAKERS[written.kind](_numbers([*ends, *how_many]), distinct)
        _check_axis(parameter, made.axis)
    except BadValueError as error:
        findings.refuse(written.place, name, error)
        return None
    return made


def _how_many(given: Given) -> Value:
    try:
        count = from_python(_HOW_MANY, given.value)
        check_bounds(_HOW_MANY, count)
    except BadValueError as error:
        raise BadValueError(f"how many values: {error.message}", error.hint) from None
    return count


def _numbers(values: list[Value]) -> list[int | float]:
    return [value for value in values if not isinstance(value, str)]


def _range(numbers: list[int | float], distinct: bool) -> _Made:
    kind = type(numbers[0])
    start, stop = (kind(0), numbers[0]) if len(numbers) == 1 else numbers[:2]
    step = numbers[2] if len(numbers) == 3 else kind(1)
    if step == 0:
        raise BadValueError("the step is 0", "write how far apart the values are")
    exact_start, exact_stop, exact_step = (Fraction(*ratio(number)) for number in (start, stop, step))
    count = math.ceil((exact_stop - exact_start) / exact_step)
    if count <= 0:
        way = f"from {text_of(start)} to {text_of(stop)} in steps of {text_of(step)}"
        raise BadValueError(
            f"there are no values {way}", "the stop is excluded, and the sign of the step is the direction"
        )
    if count > MAX_COUNT:
        raise BadValueError(
            f"there are {counted(count, 'value')}; at most {MAX_COUNT:,} are possible", "use a larger step"
        )
    axis = Range(start, step, count)
    largest = max(abs(axis[0]), abs(axis[count - 1]))
    if isinstance(step, float) and count > 1 and abs(step) < 2 * math.ulp(largest):
        raise BadValueError("the step is too small for a float of that size", "use a larger step")
    return _Made(axis)


def _linspace(numbers: list[int | float], distinct: bool) -> _Made:
    first, last, count = numbers[0], numbers[1], int(numbers[2])
    same = _same_ends(first, last, count, distinct)
    if same is not None:
        return same
    if isinstance(first, int) and isinstance(last, int):
        whole = abs(last - first) + 1
        if distinct and count > whole:
            return _Made(Range(first, 1 if first < last else -1, whole), count - whole)
        _check_repeating(count, whole)
        return _Made(Linspace(first, last, count))
    # Halves, so that no difference of two floats overflows.
    if abs(last / 2 - first / 2) / (count - 1) < _CLOSEST * max(abs(first / 2), abs(last / 2)):
        raise _too_close(count)
    return _Made(Linspace(first, last, count))


def _logspace(numbers: list[int | float], distinct: bool) -> _Made:
    first, last, count = numbers[0], numbers[1], int(numbers[2])
    if first <= 0 or last <= 0:
        raise BadValueError("logspace needs positive ends", "write the end values themselves, such as 1e-4 and 1e-1")
    same = _same_ends(first, last, count, distinct)
    if same is not None:
        return same
    if isinstance(first, float):
        if abs(math.log(last) - math.log(first)) / (count - 1) < _CLOSEST:
            raise _too_close(count)
        return _Made(Logspace(first, last, count))
    if count > MAX_WHOLE_LOGSPACE:
        raise BadValueError(f"a logspace of whole numbers has at most {MAX_WHOLE_LOGSPACE:,} values", "ask for fewer")
    axis = Logspace(first, last, count)
    values = [axis[index] for index in range(count)]
    kept = list(dict.fromkeys(values)) if distinct else values
    return _Made(Values(tuple(kept)), len(values) - len(kept))


def _same_ends(first: int | float, last: int | float, count: int, distinct: bool) -> _Made | None:
    """The axis of one value or of equal ends, which needs no arithmetic."""
    if count == 1 and first != last:
        raise BadValueError("one value cannot be both ends", "ask for at least 2 values")
    if first != last:
        return None
    if distinct or count == 1:
        return _Made(Values((first,)), count - 1)
    _check_repeating(count, 1)
    return _Made(Linspace(first, last, count))


def _check_repeating(count: int, different: int) -> None:
    if count > max(different, MAX_REPEATING):
        message = f"{counted(count, 'value')}, {different:,} of them different, are too many for a zip"
        raise BadValueError(message, f"ask for at most {MAX_REPEATING:,}")


def _too_close(count: int) -> BadValueError:
    return BadValueError(f"{counted(count, 'value')} between these ends are not distinct in 12 digits", "ask for fewer")


def _check_axis(parameter: Parameter, axis: Axis) -> None:
    """Computed axes only rise or only fall, so bounds that hold at the ends hold everywhere."""
    for index in (0, axis.count - 1):
        check_bounds(parameter, axis[index])
    if not parameter.choices:
        return
    if axis.count > MAX_COUNT_WITH_CHOICES:
        raise BadValueError(
            f"{counted(axis.count, 'value')} are too many for a parameter with choices", "list the values"
        )
    for index in range(axis.count):
        check_bounds(parameter, axis[index])


_MAKERS: dict[str, Callable[[list[int | float], bool], _Made]] = {
    "range": _range,
    "linspace": _linspace,
    "logspace": _logspace,
}
