"""Reads the words of a step's command, checked for what only a shell would understand, some under a condition."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from collections.abc import Mapping as TypedMapping
from dataclasses import dataclass, field, replace

from pipeline_queue.contract.errors import InputError
from pipeline_queue.loading.fields import Fields, Reading
from pipeline_queue.loading.line_joins import without_continuations
from pipeline_queue.loading.nodes import Mapping, Node, Scalar, Sequence
from pipeline_queue.loading.placeholders import without_variables
from pipeline_queue.loading.preloads import Preload
from pipeline_queue.loading.programs import Programs
from pipeline_queue.loading.shell_words import ShellFinding, find_in_args, find_in_item, find_in_run, find_joined_lines
from pipeline_queue.loading.usage import Texts, Written
from pipeline_queue.model.expressions import MAX_WORDS, first_expression_offset, parse_template, split_words
from pipeline_queue.model.optional_words import check_literals, parameters_of
from pipeline_queue.model.parameters import BadValueError
from pipeline_queue.model.pipeline import OptionalWords, Parameter, Reference, Template

WORD_HINT = "write '' for an empty word, or put the word in quotes"


@dataclass(frozen=True)
class StepContext:
    """What every step needs: the file, its folder's programs and the declared parameters."""

    reading: Reading
    programs: Programs
    declared: Collection[str] | None
    preload: Preload
    texts: Texts = field(default_factory=Texts)
    parameters: TypedMapping[str, Parameter] = field(default_factory=dict)
    steps_before: int = 0
    told: set[str] = field(default_factory=set)

    def is_list(self, name: str) -> bool:
        """Whether the parameter of this name holds a list."""
        return name in self.parameters and self.parameters[name].is_list


def read_args(
    context: StepContext, fields: Fields, program: str, env: Collection[str]
) -> tuple[Template | OptionalWords, ...]:
    """The words of `args`; a mapping in its list stands for words that depend on a condition."""
    node, label = fields.get("args"), fields.label("args")
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return ()
    if not isinstance(node, Sequence) or not any(isinstance(item, Mapping) for item in node.items):
        return read_words(context, label, node, env, program) or ()
    words: list[Template | OptionalWords] = []
    for item in node.items:
        if isinstance(item, Mapping):
            optional = _read_optional(context, label, item, env, program)
            words += [optional] if optional else []
        else:
            alone = Sequence((item,), item.line, item.column)
            words += read_words(context, label, alone, env, program) or ()
    return tuple(words)


def _read_optional(
    context: StepContext, label: str, node: Mapping, env: Collection[str], program: str
) -> OptionalWords | None:
    """One `{if: condition, then: words, else: words}`; None with the problems recorded."""
    reading = context.reading
    fields = Fields(reading, node, f"this part of {label}", ("if", "then", "else"))
    asked = fields.get("if")
    if asked is None or fields.get("then") is None:
        message = f"a mapping in {label} needs `if` and `then`"
        reading.add(node, message, "write `{if: parameters.augment, then: --augment}`; quote a word that holds `: `")
        return None
    condition = reading.scalar(asked, f"if in {label}", "write `if: parameters.NAME`, or a comparison with it")
    words = {
        key: read_words(context, f"{key} in {label}", written, env, program) or ()
        for key in ("then", "else")
        if (written := fields.get(key)) is not None and not (isinstance(written, Scalar) and written.is_null)
    }
    if condition is None:
        return None
    text = condition.text
    whole = re.fullmatch(r"\s*\$\{\{(.*)\}\}\s*", text, re.DOTALL)
    text = (whole[1] if whole else text).strip()
    try:
        asks = parameters_of(text, context.declared)
        check_literals(text, context.parameters)
    except InputError as error:
        bare = [name for name in re.findall(r"(?<![\w.-])[A-Za-z_][\w-]*", text) if name in (context.declared or ())]
        hint = (
            f"write parameters.{bare[0]}" if bare else "write `parameters.NAME`, `not parameters.NAME`, or comparisons"
        )
        if text.count("(") > text.count(")"):
            hint = "put the whole condition in quotes: inside { } a comma ends it"
        reading.add(condition, f"if in {label}: {error}", hint)
        return None
    except BadValueError as error:
        reading.add(condition, f"if in {label}: {error.message}", error.hint)
        return None
    lists = tuple(name for name in asks if context.is_list(name))
    return OptionalWords(
        condition=text, asks=asks, lists=lists, then=words.get("then", ()), otherwise=words.get("else", ())
    )


def read_words(
    context: StepContext, label: str, node: Node, env: Collection[str], program: str | None = None
) -> tuple[Template, ...] | None:
    """A text split as a shell would, or a list of words; None with the problems recorded.

    `program` is None where the first of the words is the program; `env` are the step's own variables.
    """
    reading, declared = context.reading, context.declared
    if isinstance(node, Mapping):
        reading.add(node, f"{label} must be a text or a list of words, not a mapping", WORD_HINT)
        return None
    if isinstance(node, Scalar):
        scalar = reading.scalar(node, label)
        if scalar is not None:
            written = reading.document.source.text[scalar.start : scalar.end]
            scalar = replace(scalar, text=without_continuations(written, scalar.text))
        split = reading.template(scalar, lambda text: split_words(text, declared))
        if scalar is not None and split is not None:
            context.texts.written.append(Written(scalar, label, env))
            _refuse_worker_variables(reading, scalar, split, label)
            text = without_variables(scalar.text, declared or (), env)
            found = find_in_run(text, label) if program is None else find_in_args(text, label, program)
            report_findings(reading, scalar, found or _joined_lines(reading, scalar, label, program))
            for one in split:
                warn_of_project_path(context, scalar, one)
        return None if split is None else _with_spread_lists(context, split)
    if len(node.items) > MAX_WORDS:
        hint = "put them in a file and let the step read it"
        reading.add(node, f"{label} has more than {MAX_WORDS:,} words", hint)
        return None
    scalars = [reading.scalar(item, f"a word in {label}", WORD_HINT) for item in node.items]
    words = [reading.template(scalar, lambda text: parse_template(text, declared)) for scalar in scalars]
    right = tuple(word for word in words if word is not None)
    for scalar, word in zip(scalars, words, strict=True):
        if scalar is None or word is None or len(right) < len(words):
            continue
        warn_of_project_path(context, scalar, word)
        context.texts.written.append(Written(scalar, label, env))
        _refuse_worker_variables(reading, scalar, right, label)
        first = program if program is not None else scalars[0].text if scalars[0] else ""
        text = without_variables(scalar.text, declared or (), env)
        report_findings(reading, scalar, find_in_item(text, label, first, is_single_quoted(reading, scalar)))
    return _with_spread_lists(context, right) if len(right) == len(words) else None


def warn_of_project_path(context: StepContext, scalar: Scalar, word: Template) -> None:
    """Says when a word, as far as it is written in the file, leads to the live project or beside the folder."""
    found = context.programs.find_project_path(word[0]) if word and isinstance(word[0], str) else None
    if found:
        context.reading.warnings.add(context.reading.document.place(scalar), *found)


def _with_spread_lists(context: StepContext, words: tuple[Template, ...]) -> tuple[Template, ...]:
    """The words, with a mark on each that is nothing but a list."""
    return tuple(
        (word[0].model_copy(update={"spread": True}),)
        if len(word) == 1 and isinstance(word[0], Reference) and word[0].scope == "parameters"
        and context.is_list(word[0].name)
        else word
        for word in words
    )  # fmt: skip


def _joined_lines(reading: Reading, scalar: Scalar, label: str, program: str | None) -> list[ShellFinding]:
    """Of a `run` on several lines of the file that is one line of text."""
    written = reading.document.source.text[scalar.start : scalar.end]
    if program is not None or "\n" not in written:
        return []
    # A backslash at a line's end says that the next one belongs to it.
    lines = re.sub(r"\\\n", " ", written).lstrip(">|+-'\" ").splitlines()
    return find_joined_lines(lines, label)


def is_single_quoted(reading: Reading, scalar: Scalar) -> bool:
    """How a person says that a word means just its characters, as in a shell."""
    return reading.document.source.text[scalar.start : scalar.start + 1] == "'"


def _refuse_worker_variables(reading: Reading, scalar: Scalar, words: Iterable[Template], label: str) -> None:
    """A command is the same on every worker, and so is what it is known by."""
    for word in words:
        for part in word:
            if isinstance(part, Reference) and part.scope == "worker":
                place = reading.document.place_in(scalar, first_expression_offset(scalar.text))
                hint = f"set a variable below `env:` to ${{{{ worker.env.{part.name} }}}}, and have the program read it"
                reading.problems.add(place, f"worker.env is not allowed in {label}, only in env", hint)
                return


def report_findings(reading: Reading, scalar: Scalar, findings: Iterable[ShellFinding]) -> None:
    """Adds what a shell would read otherwise to the problems or the warnings."""
    for found in findings:
        place = reading.document.place_in(scalar, found.offset)
        (reading.problems if found.is_refused else reading.warnings).add(place, found.message, found.hint)
