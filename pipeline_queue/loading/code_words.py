"""Finds values that become part of a script which a shell or an interpreter is given in one word (`sh -c "… ${{ }}"`).

What stands in such a value is read a second time there: a quote, `$` or `;` in it means something.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pipeline_queue.loading.shell_words import SHELLS
from pipeline_queue.model.pipeline import OptionalWords, Parameter, Reference, Template

_OPTIONS: Final[Mapping[str, re.Pattern[str]]] = {
    **dict.fromkeys(sorted(SHELLS), re.compile("-[a-z]*c")),
    "python": re.compile("-[A-Za-z]*c"),
    **dict.fromkeys(("perl", "ruby"), re.compile("-[a-zA-Z]*[eE]")),
    **dict.fromkeys(("node", "Rscript", "julia"), re.compile("-e|-p|--eval|--print")),
}


def find_value_in_code(
    argv: Sequence[Template | OptionalWords], parameters: Mapping[str, Parameter]
) -> tuple[int, str, str] | None:
    """The number of the word, a message and a hint; None where no free text is put into a script.

    Numbers, booleans and choices hold nothing that a shell could take for its own.
    """
    program, is_code = "", False
    for number, word in enumerate(argv):
        if isinstance(word, OptionalWords):
            program, is_code = "", False
        elif is_code:
            references = (part for part in word if isinstance(part, Reference))
            name = next((part.name for part in references if _is_free_text(part, parameters)), None)
            if name is not None:
                return (number, *_said(program, name))
            program, is_code = "", False
        else:
            text = "".join(part for part in word if isinstance(part, str)) if _is_literal(word) else ""
            if _interpreter(text):
                program = _interpreter(text)
            elif program and _OPTIONS[program].fullmatch(text):
                is_code = True
            elif not text.startswith(("-", "+")) and not _is_value_of_option(text):
                program = ""
    return None


def _said(program: str, name: str) -> tuple[str, str]:
    message = (
        f"the value of {name!r} becomes part of a script that {program} reads: special characters in it take effect"
    )
    if program in SHELLS:
        variable = f"PARAM_{name.upper().replace('-', '_')}"
        return message, f'write the script below `shell: |`, where the value is "${variable}"'
    return message, "pass the value as a separate word after the script, which finds it among its arguments"


def _is_free_text(part: Reference, parameters: Mapping[str, Parameter]) -> bool:
    parameter = parameters.get(part.name) if part.scope == "parameters" else None
    return parameter is not None and parameter.type in ("string", "list of string") and not parameter.choices


def _is_literal(word: Template) -> bool:
    return all(isinstance(part, str) for part in word)


def _interpreter(text: str) -> str:
    """The name under which `_OPTIONS` knows this program; empty for others."""
    name = text.rpartition("/")[2]
    name = "python" if re.fullmatch("python[0-9.]*", name) else name
    return name if name in _OPTIONS else ""


def _is_value_of_option(text: str) -> bool:
    """`pipefail` in `bash -o pipefail -c`."""
    return text in ("pipefail", "errexit", "nounset", "xtrace")
