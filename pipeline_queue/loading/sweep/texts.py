"""Takes apart what `-p NAME=TEXT` says of a sweep: one value, several, or a form such as `range(0, 10, 2)`.

0.1                          one value
0.1,0.2                      several; a backslash keeps a comma: a\\,b
["a,b", "range(1,2)"]        the same as a JSON list, whose texts are taken as they are
range(start, stop, step)     linspace(first, last, n), logspace(first, last, n)
uniform(a, b)                and loguniform(a, b), int(a, b), choice(a, b, c): drawn at random
"""

from __future__ import annotations

import json
import re

from pipeline_queue.loading.sweep.axes import AXIS_FORMS, VALUES, Written
from pipeline_queue.loading.sweep.draws import DRAW_FORMS
from pipeline_queue.parameters import BadValueError, Given
from pipeline_queue.pipeline import Parameter
from pipeline_queue.problems import listed, near, quoted

FORMS = (*AXIS_FORMS, *DRAW_FORMS)

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\((.*)\)\s*", re.DOTALL)
_COMMA = re.compile(r"(?<!\\),")


def written_text(parameter: Parameter, text: str, given: Given) -> Written:
    """The axis or draw that a text means; `given` has its place. Raises BadValueError."""
    call = _CALL.fullmatch(text)
    if call and call[1] in FORMS:
        args = _values(call[2]) if call[2].strip() else []
        may_be_text = parameter.type == "string" and len(text) <= 100
        hint = f"for the text itself write {json.dumps([text])}" if may_be_text else ""
        return Written(call[1], _at(given, args), given.place, hint)
    if call and parameter.type != "string":
        nearest = near(call[1], FORMS)
        meant = f"did you mean {nearest!r}? " if nearest else ""
        raise BadValueError(f"there is no form {quoted(call[1])}", f"{meant}forms: {listed(FORMS)}")
    return Written(VALUES, _at(given, _values(text)), given.place)


def _at(given: Given, texts: list[str]) -> tuple[Given, ...]:
    return tuple(Given(text, given.place) for text in texts)


def _values(text: str) -> list[str]:
    listed_values = _json_values(text)
    if listed_values is not None:
        return listed_values
    return [value.replace("\\,", ",") for value in _COMMA.split(text)]


def _json_values(text: str) -> list[str] | None:
    """The members of a JSON list as texts, numbers as they are written; None when the text is no such list."""
    if not text.lstrip().startswith("["):
        return None
    try:
        data = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    values: list[str] = []
    for value in data:
        if not isinstance(value, str | bool):
            kind = "null" if value is None else "an object" if isinstance(value, dict) else "a list"
            raise BadValueError(f"the list holds {kind}", "list single values")
        values.append(str(value).lower() if isinstance(value, bool) else value)
    return values
