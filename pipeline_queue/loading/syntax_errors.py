"""Words YAML's syntax errors for people: where, what, and the likely remedy."""

from __future__ import annotations

import yaml

from pipeline_queue.loading.source import Source
from pipeline_queue.model.problems import Problems


def add_syntax_problem(error: yaml.MarkedYAMLError, source: Source, problems: Problems) -> None:
    mark = error.problem_mark or error.context_mark
    place = source.place(mark.index if mark else 0)
    message = f"invalid YAML: {error.problem or 'unreadable'}"
    if error.context:
        message += f" {error.context}"
    if error.context_mark and error.problem_mark and error.context_mark.line != error.problem_mark.line:
        message += f" that begins on line {source.line_and_column(error.context_mark.index)[0]}"
    problems.add(place, message, _syntax_hint(message, source.line_text(place.line or 1), place.column or 1))


def _syntax_hint(message: str, line: str, column: int) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not with tabs"
    if "flow" in message and line[: column - 1].rstrip().endswith("list"):
        return "write `list of int`, or put the type in quotes: inside { } a bracket begins a list"
    if "flow" in message and "${{" in line:
        return "put a text with ${{ … }} in quotes when it stands inside [ ] or { }"
    if "flow" in message:
        return "close every [ and {, and put commas between the items"
    if "Unicode character escape" in message:
        return "write the character itself, or \\U and its eight digits"
    if "escape" in message:
        return "put the text in single quotes, where a backslash is literal"
    if "quoted scalar" in message:
        return "close the quotes"
    if "mapping values" in message or line[column - 1 : column] in ("@", "`", "%", "*", "&", "!", "|", ">"):
        return "put a value with ': ' in it, or with a special first character, in quotes"
    return "check the indentation and the quotes around here"
