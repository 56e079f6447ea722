"""Functions that no traceback, warning or `inspect.stack()` shows: what runs below a step's script.

Python leaves out frames that have not come to their first `RESUME` yet, so these have none. Where that is not so,
they are merely seen.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from types import CodeType
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

_RESUME, _NOP = dis.opmap.get("RESUME"), dis.opmap["NOP"]


def invisible(function: _Function) -> _Function:
    function.__code__ = invisible_code(function.__code__)
    return function


def invisible_code(code: CodeType) -> CodeType:
    operations = bytearray(code.co_code)
    for position in range(0, len(operations), 2):
        if operations[position] == _RESUME:
            operations[position : position + 2] = bytes((_NOP, 0))
    return code.replace(co_code=bytes(operations))
