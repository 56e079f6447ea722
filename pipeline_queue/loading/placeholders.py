"""Finds placeholders of other tools that name a parameter: `{{ x }}`, `${x}`, `$(x)`, `{x}` and their like."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_NAME = "[A-Za-z_][A-Za-z0-9_-]*"
_DOTTED = rf"{_NAME}(?:\.{_NAME})*"
_PLACEHOLDER = re.compile(
    rf"""(?<!\$)\{{\{{[^{{}}]{{1,200}}\}}\}}          # Jinja, Argo, Handlebars
    | \$\{{[^{{}}]{{1,200}}\}}                       # shells, Hydra, DVC, Guild
    | \$\({_DOTTED}\)                              # Merlin, Tekton, make
    | \${_DOTTED}                                  # shells
    | %\({_NAME}\)[a-z]                            # printf
    | %{_NAME}%                                    # batch files
    | (?<![{{$])\{{{_DOTTED}(?:[:!][^{{}}]{{0,40}})?\}}   # str.format, Snakemake
    | @{_NAME}@ | <{_NAME}>                         # CMake, usage lines
    | (?<![\w.$])(?:parameters|params)\.{_NAME}     # an expression without its braces
    """,
    re.VERBOSE,
)
_NAMES = re.compile(_NAME)
# Of this program: an escaped one stands for its characters.
_OWN = re.compile(r"\$\$+\{\{[^{}]{0,200}(?:\}\})?|\$\{\{.*?\}\}", re.DOTALL)
_SHELL_SIGNS = ("$", "%")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Something at an offset of a text that another tool would replace by a parameter's value; here nothing does."""

    offset: int
    text: str
    parameter: str


def without_variables(text: str, declared: Collection[str], variables: Collection[str] = ()) -> str:
    """The text, of the same length, in which what looks like a variable but names a parameter is no variable."""
    pieces: list[str] = []
    end = 0
    for found in find_placeholders(text, declared, variables):
        # $PATH may be the variable though there is a parameter `path`.
        if found.text.startswith("$") and (found.parameter in found.text or "PARAM_" in found.text):
            pieces += [text[end : found.offset], "\0" * len(found.text)]
            end = found.offset + len(found.text)
    return "".join([*pieces, text[end:]])


def find_placeholders(text: str, declared: Collection[str], variables: Collection[str] = ()) -> Iterator[Placeholder]:
    """Those that name a declared parameter, in their order.

    `variables` are names that the text's own shell or environment knows: `$x` of such an x is no placeholder. Where
    none knows it, `$PARAM_X` is one too, which is a variable below `shell:` only.
    """
    by_lower_case = {f"param_{name.lower().replace('-', '_')}": name for name in declared}
    by_lower_case |= {name.lower(): name for name in declared}
    if not by_lower_case:
        return
    hidden = _OWN.sub(lambda found: " " * len(found[0]), text)
    for found in _PLACEHOLDER.finditer(hidden):
        names = [name for name in _NAMES.findall(found[0]) if name.lower() in by_lower_case or name in declared]
        if not names or (found[0].startswith(_SHELL_SIGNS) and names[-1] in variables):
            continue
        parameter = names[-1] if names[-1] in declared else by_lower_case[names[-1].lower()]
        yield Placeholder(found.start(), found[0], parameter)
