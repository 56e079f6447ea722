"""Takes apart what `-p NAME=TEXT` says of a sweep: one value, several, or a form such as `range(0, 10, 2)`.

0.1                          one value
0.1,0.2                      several; a backslash keeps a comma: a\\,b
["a,b", "range(1,2)"]        the same as a JSON list, whose texts are taken as they are
{"a":1,"b":2}                one value: a comma inside brackets or behind an opening quote separates nothing
range(start, stop, step)     linspace(first, last, n), logspace(first, last, n)
[64,32],[128]                of a parameter that is a list: two values; [64,32] is one
uniform(a, b)                and loguniform(a, b), int(a, b), choice(a, b, c): drawn at random
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pipeline_queue.contract.wording import counted
from pipeline_queue.loading.sweep.axes import AXIS_FORMS, VALUES, Written
from pipeline_queue.loading.sweep.draws import DRAW_FORMS
from pipeline_queue.model.list_values import written_members
from pipeline_queue.model.parameters import BadValueError, Given
from pipeline_queue.model.pipeline import Parameter
from pipeline_queue.model.problems import listed, near, quoted

FORMS = (*AXIS_FORMS, *DRAW_FORMS)

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\((.*)\)\s*", re.DOTALL)
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_MAX_EXAMPLE_CHARACTERS = 100
_COMMA = re.compile(r"(?<!\\),")


def written_text(parameter: Parameter, text: str, given: Given) -> Written:
    """The axis or draw that a text means; `given` has its place. Raises BadValueError."""
    call = _CALL.fullmatch(text)
    if call and call[1] in FORMS:
        args = _values(parameter, call[2]) if call[2].strip() else []
        may_be_text = parameter.type == "string" and len(text) <= _MAX_EXAMPLE_CHARACTERS
        hint = f"for the literal text write {json.dumps([text])}" if may_be_text else ""
        return Written(call[1], _at(given, args), given.place, hint)
    if call and parameter.type != "string":
        nearest = near(call[1], FORMS)
        meant = f"did you mean {nearest!r}? " if nearest else ""
        raise BadValueError(f"unknown form {quoted(call[1])}", f"{meant}forms: {listed(FORMS)}")
    return Written(VALUES, _at(given, _values(parameter, text)), given.place)


def _at(given: Given, texts: list[str]) -> tuple[Given, ...]:
    return tuple(Given(text, given.place) for text in texts)


def _values(parameter: Parameter, text: str) -> list[str]:
    if parameter.is_list:
        return _lists(text)
    listed_values = _json_values(text, parameter.type == "string")
    if listed_values is not None:
        return listed_values
    return [value.replace("\\,", ",") for value in _split(text)[0]]


def notes_on(parameter: Parameter, text: str, written: Written) -> Iterator[str]:
    """What of a text that was taken apart into values may have been meant otherwise."""
    values, is_closed = _split(text)
    if not is_closed and len(values) > 1:
        yield "its brackets are not closed, so it was split at every comma (a JSON list keeps texts whole: '[\"a,b\"]')"
    taken = [str(one.value) for one in written.args]
    if parameter.type != "string" or taken == [text]:
        return
    if len(values) == 1 and "[" in text:
        if len(taken) == 1 and set(",([") & set(taken[0]):
            return  # written as a list so that it is taken as it is
        itself = f"; for the literal text write {json.dumps([text])}" if len(text) <= _MAX_EXAMPLE_CHARACTERS else ""
        yield f"it is a JSON list, so it stands for {counted(len(taken), 'value')}{itself}"
    elif len(taken) > 1 and "" in taken:
        yield "one of its values is empty, because a comma has nothing before or after it"


def _split(text: str) -> tuple[list[str], bool]:
    """The values of a text, and whether all its brackets and quotes are closed.

    A comma behind a backslash, in brackets or in quotes that begin a value or a member is part of a value. Where
    brackets or quotes are not closed, every other comma separates.
    """
    parts: list[str] = []
    start, closers = 0, list[str]()
    quote, may_quote = "", True
    position = 0
    while position < len(text):
        here = text[position]
        if here == "\\":
            position += 2
            may_quote = False
            continue
        if quote:
            quote = "" if here == quote else quote
        elif here in "'\"" and may_quote:
            quote = here
        elif here in _CLOSING:
            closers.append(_CLOSING[here])
        elif closers and here == closers[-1]:
            closers.pop()
        elif here == "," and not closers:
            parts.append(text[start:position])
            start = position + 1
        may_quote = here in "[{(,:=" or (may_quote and here == " ")
        position += 1
    if quote or closers:
        return _COMMA.split(text), False
    return [*parts, text[start:]], True


def _lists(text: str) -> list[str]:
    """The lists of a text: one, several with commas between them, or a list of lists."""
    members = written_members(text)
    if members and all(isinstance(member, list) for member in members):
        return _members(text)
    return [text] if members is not None else [part.strip() for part in _split(text)[0]]


def _json_values(text: str, takes_text: bool) -> list[str] | None:
    """The members of a JSON list as texts, numbers as they are written; None when the text is no such list.

    An object or a list in it is the text of its JSON, for a parameter that `takes_text`.
    """
    data = written_members(text)
    if data is None:
        return None
    for value in data:
        if isinstance(value, dict | list) and takes_text:
            continue
        if not isinstance(value, str | bool):
            kind = "null" if value is None else "an object" if isinstance(value, dict) else "a list"
            raise BadValueError(f"the list holds {kind}", "list single values")
    members = _members(text) if takes_text else []
    if members and any(isinstance(value, dict | list) for value in data):
        return [
            member if isinstance(value, dict | list) else _text_of_json(value)
            for value, member in zip(data, members, strict=True)
        ]
    return [_text_of_json(value) for value in data]


def _text_of_json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _members(text: str) -> list[str]:
    """The source texts of a JSON list's members."""
    inside = text.strip()[1:-1]
    return [part.strip() for part in _split(inside)[0]] if inside.strip() else []
