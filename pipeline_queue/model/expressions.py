"""Templates: text with `${{ … }}` references, split into argv words first and filled in once.

    ${{ parameters.NAME }}   ${{ parameters['NAME'] }}   ${{ run.id }}   ${{ run.index }}   ${{ sweep.id }}
    ${{ worker.env.NAME }}   in the environment of a step alone

`$${{` stands for a literal `${{`. Everything here takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pipeline_queue.model.list_values import members_of
from pipeline_queue.model.parameters import argument_of
from pipeline_queue.model.pipeline import Reference, Template, Value
from pipeline_queue.model.references import read_reference

MAX_WORDS = 2_000

_CLOSE_HINT = "close it with }}, or write $${{ for a literal ${{"
_MAX_PROBLEMS = 100

_DOLLARS = re.compile(r"(\$+)(\{\{)?")
_SPACE = re.compile(r"[ \t\r\n]+")
_UNQUOTED = re.compile(r"""[^ \t\r\n'"\\$]+""")
_IN_SINGLE_QUOTES = re.compile(r"[^'$]+")
_IN_DOUBLE_QUOTES = re.compile(r'[^"\\$]+')
_NO_QUOTES = re.compile(r"[^$]+")


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong at an offset of a template's text."""

    offset: int
    message: str
    hint: str = ""


class TemplateError(ValueError):
    """A text that is no template, with every problem; who asked knows the place."""

    def __init__(self, problems: tuple[TemplateProblem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems


def parse_template(text: str, declared: Collection[str] | None = None) -> Template:
    """The template of a whole text, which stays one element; raises `TemplateError`.

    With `declared`, a reference to any other parameter is a problem too, here and in `split_words`.
    """
    reader = _Reader(text, declared)
    while reader.more():
        if not reader.take(_NO_QUOTES):
            reader.take_dollars()
    reader.raise_problems()
    return reader.end_word()


def split_words(text: str, declared: Collection[str] | None = None) -> tuple[Template, ...]:
    """The words of a text as a POSIX shell would quote them, with every `${{ … }}` an atom, even in quotes.

    No globs, no variables, no comments: only white space, quotes and backslashes have a meaning.
    """
    reader = _Reader(text, declared)
    words: list[Template] = []
    while reader.more():
        if reader.skip(_SPACE):
            continue
        if len(words) == MAX_WORDS:
            hint = "put them in a file and let the step read it"
            reader.add_problem(reader.position, f"there are more than {MAX_WORDS:,} words", hint)
            break
        if _read_word(reader):
            words.append(reader.end_word())
    reader.raise_problems()
    return tuple(words)


def render(
    template: Template,
    values: Mapping[str, Value],
    run_id: str,
    run_index: int,
    sweep_id: str,
    worker: Mapping[str, str] | None = None,
    text_of_value: Callable[[Value], str] = argument_of,
) -> str:
    """The template's text with its values put in, once; nothing of a value is read again.

    `worker`: the worker's variables, of which one that is not set is empty; None where no worker is known yet: such a
    reference stays as it is written.
    """
    fixed = {("run", "id"): run_id, ("run", "index"): str(run_index), ("sweep", "id"): sweep_id}

    def text(part: str | Reference) -> str:
        if isinstance(part, str):
            return part
        if part.scope == "parameters":
            return text_of_value(values[part.name])
        if part.scope == "worker":
            return f"${{{{ worker.env.{part.name} }}}}" if worker is None else worker.get(part.name, "")
        return fixed[part.scope, part.name]

    return "".join(map(text, template))


def render_words(
    template: Template, values: Mapping[str, Value], text_of_value: Callable[[Value], str] = argument_of
) -> tuple[str, ...] | None:
    """The words that a list alone in a word stands for; None for every other word, which `render` renders."""
    part = template[0] if len(template) == 1 else None
    if not (isinstance(part, Reference) and part.spread):
        return None
    return tuple(text_of_value(member) for member in members_of(str(values[part.name])))


def first_expression_offset(text: str) -> int:
    """Where the first `${{` that is not escaped stands in a text, or 0."""
    found = re.search(r"(?<!\$)\$\{\{", text)
    return found.start() if found else 0


class _Reader:
    """Walks a text once from left to right and builds the current word."""

    def __init__(self, text: str, declared: Collection[str] | None) -> None:
        self.text = text
        self.position = 0
        self._declared = declared
        self._parts: list[str | Reference] = []
        self._literal: list[str] = []
        self._problems: list[TemplateProblem] = []
        self._next_close = -1

    def more(self) -> bool:
        return self.position < len(self.text)

    def starts_with(self, prefix: str, ahead: int = 0) -> bool:
        return self.text.startswith(prefix, self.position + ahead)

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.position)
        if found is None:
            return ""
        self.position = found.end()
        return found[0]

    def take(self, pattern: re.Pattern[str]) -> bool:
        """Move what the pattern matches here into the word; whether there was any."""
        literal = self.skip(pattern)
        self._literal.append(literal)
        return literal != ""

    def take_escaped(self) -> None:
        """Move the character after a backslash into the word; a line's end vanishes with it."""
        if self.starts_with("${{", 1):
            self.add_problem(self.position, "a backslash stands before ${{", "write $${{ for a literal ${{")
        escaped = self.text[self.position + 1 : self.position + 2]
        self._literal.append("" if escaped == "\n" else escaped)
        self.position += 2

    def take_backslash(self) -> None:
        self._literal.append("\\")
        self.position += 1

    def take_dollars(self) -> None:
        """Move dollar signs, or the expression or escape they begin, into the word."""
        found = _DOLLARS.match(self.text, self.position)
        if found is None:
            raise ValueError("not at a dollar sign")
        dollars, braces = found[1], found[2]
        if not braces:
            self._literal.append(dollars)
        elif len(dollars) > 1:
            self._literal.append(dollars[1:] + braces)
        else:
            self._take_expression(found.end())
            return
        self.position = found.end()

    def _take_expression(self, start: int) -> None:
        if self._next_close < start:
            self._next_close = self.text.find("}}", start)
            if self._next_close < 0:
                self.add_problem(self.position, "this ${{ is never closed", _CLOSE_HINT)
                self.position = len(self.text)
                return
        another = self.text.find("${{", start, self._next_close)
        if another >= 0:
            self.add_problem(self.position, "this ${{ is not closed before the next one", _CLOSE_HINT)
            self.position = another
            return
        content = self.text[start : self._next_close].strip()
        reference = read_reference(content, self._declared)
        if isinstance(reference, Reference):
            self._end_literal()
            self._parts.append(reference)
        else:
            self.add_problem(self.position, *reference)
        self.position = self._next_close + 2

    def add_problem(self, offset: int, message: str, hint: str) -> None:
        self._problems.append(TemplateProblem(offset, message, hint))
        if len(self._problems) >= _MAX_PROBLEMS:
            self.raise_problems()

    @property
    def is_wrong(self) -> bool:
        return bool(self._problems)

    def raise_problems(self) -> None:
        if self._problems:
            raise TemplateError(tuple(self._problems))

    def end_word(self) -> Template:
        self._end_literal()
        word, self._parts = tuple(self._parts), []
        return word

    def _end_literal(self) -> None:
        literal = "".join(self._literal)
        if literal:
            self._parts.append(literal)
        self._literal = []


def _read_word(reader: _Reader) -> bool:
    """Read up to the next white space outside quotes; whether that was a word."""
    is_word = False
    while reader.more() and reader.text[reader.position] not in " \t\r\n":
        here = reader.text[reader.position]
        # A backslash with a line's end is nothing at all, as in a shell.
        is_word = is_word or not reader.starts_with("\\\n")
        if here == "$":
            reader.take_dollars()
        elif here in "'\"":
            _read_quoted(reader, here)
        elif here == "\\":
            if reader.position + 1 == len(reader.text):
                hint = "write two for one backslash, or put it in single quotes"
                reader.add_problem(reader.position, "nothing follows this backslash", hint)
            reader.take_escaped()
        else:
            reader.take(_UNQUOTED)
    return is_word


def _read_quoted(reader: _Reader, quote: str) -> None:
    opened_at = reader.position
    reader.position += 1
    plain = _IN_SINGLE_QUOTES if quote == "'" else _IN_DOUBLE_QUOTES
    while reader.more():
        if reader.take(plain):
            continue
        here = reader.text[reader.position]
        if here == quote:
            reader.position += 1
            return
        if here == "$":
            reader.take_dollars()
        elif reader.text[reader.position + 1 : reader.position + 2] in ('"', "\\", "$", "`", "\n"):
            reader.take_escaped()
        else:
            reader.take_backslash()
    if not reader.is_wrong:  # after a wrong expression the quotes may only seem to be open
        name = "single" if quote == "'" else "double"
        reader.add_problem(opened_at, f"this {name} quote is never closed", f"close it, or write \\{quote}")
