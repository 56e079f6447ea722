"""Reads the `steps:` of a pipeline file: commands split into words, and how to run them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import get_args

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.code_words import find_value_in_code
from pipeline_queue.loading.fields import HELP_KEYS, Entry, Fields, Reading, read_entries
from pipeline_queue.loading.nodes import Mapping, Node, Scalar, Sequence, kind_of, size_of
from pipeline_queue.loading.output_paths import find_in_output
from pipeline_queue.loading.placeholders import without_variables
from pipeline_queue.loading.preloads import Preload, check_preload, read_preload
from pipeline_queue.loading.programs import Programs
from pipeline_queue.loading.shell_step import read_shell
from pipeline_queue.loading.shell_words import find_in_value
from pipeline_queue.loading.sizes import read_memory
from pipeline_queue.loading.usage import Texts, Written
from pipeline_queue.loading.words import (
    StepContext,
    is_single_quoted,
    read_args,
    read_words,
    report_findings,
    warn_of_project_path,
)
from pipeline_queue.model.expressions import first_expression_offset, parse_template
from pipeline_queue.model.parameters import BadValueError, check_bounds, read_value
from pipeline_queue.model.pipeline import (
    DEFAULT_QUEUE,
    Keep,
    OptionalWords,
    Parameter,
    Reference,
    Reuse,
    Step,
    Template,
)
from pipeline_queue.model.problems import quoted
from pipeline_queue.planning.inputs import WILDCARDS, is_pattern

MAX_STEPS = 100
MAX_RETRIES = 100
MAX_TIMEOUT_SECONDS = 30 * 24 * 3600

KEYS = (
    *(
        "run",
        "args",
        "shell",
        "env",
        "timeout",
        "memory",
        "retries",
        "queue",
        "outputs",
        "keep",
        "reuse",
        "sources",
        "preload",
    ),
    *HELP_KEYS,
)
_RETRIES = Parameter(name="retries", type="int", min=0, max=MAX_RETRIES)
_SECONDS = Parameter(name="timeout", type="float")
_DURATION = re.compile(
    r"(?:(?P<d>[0-9.]+)d)?\s*(?:(?P<h>[0-9.]+)h)?\s*(?:(?P<m>[0-9.]+)m(?!s))?"
    r"\s*(?:(?P<s>[0-9.]+)s)?\s*(?:(?P<ms>[0-9.]+)ms)?"
)
_UNIT_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_HINT = "write seconds, or a duration such as 90s, 15m, 2h, 1h30m or 1d"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN_ENV_PREFIX = "PIPELINE_QUEUE_"
_QUEUE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def read_steps(
    reading: Reading,
    node: Node | None,
    place: Place,
    programs: Programs,
    declared: Collection[str] | None,
    preload: Preload | None = None,
    texts: Texts | None = None,
    parameters: Iterable[Parameter] = (),
) -> tuple[Step, ...]:
    """The steps that are right; `place` is where a missing list of them is reported, `preload` the pipeline's own.

    `texts` collects what was written in them; `parameters` are those of `declared` that are right.
    """
    context = StepContext(
        reading, programs, declared, preload or Preload(), texts or Texts(), {one.name: one for one in parameters}
    )
    if node is None:
        reading.problems.add(place, "the pipeline has no steps", "add `steps:` with a list of one or more")
        return ()
    entries = read_entries(reading, node, "step", KEYS, MAX_STEPS)
    if size_of(node) == 0:
        reading.add(node, "steps is empty", "a pipeline needs at least one step")
    steps = [_read_step(replace(context, steps_before=number), entry) for number, entry in enumerate(entries)]
    return tuple(step for step in steps if step is not None)


def _read_step(context: StepContext, entry: Entry) -> Step | None:
    if entry.body is None:
        return None
    fields = Fields(context.reading, entry.body, entry.owner, KEYS)
    env = _read_env(context, fields)
    words: tuple[Template, ...] = ()
    args: tuple[Template | OptionalWords, ...] = ()
    python = False
    if (script := fields.get("shell")) is not None:
        read = read_shell(context.reading, fields, script, context.declared, env, context.texts, entry.name or "step")
        words, env = read or ((), env)
        if isinstance(script, Scalar):
            in_project = context.programs.find_project_path_in_script(script.text)
            for offset, message, hint in (*context.programs.check_text(script.text), *filter(None, [in_project])):
                context.reading.warnings.add(context.reading.document.place_in(script, offset), message, hint)
    elif (run := fields.get("run")) is not None:
        words, python = _read_run(context, fields, run, env)
        program = words[0][0] if words else ""
        args = read_args(context, fields, str(program), env)
        _warn_of_values_in_code(context, fields, words, args)
    else:
        context.reading.add(entry.node, f"{entry.owner} has no run", "add `run:` with the program to start")
    step = {
        "argv": (*words, *args),
        "python": python,
        "env": env,
        "timeout_seconds": _read_timeout(fields),
        "memory_bytes": read_memory(fields),
        "retries": _read_retries(fields),
        "queue": _read_queue(fields),
        "keep": _read_keep(fields),
        "reuse": _read_reuse(fields),
        "outputs": _read_outputs(context, fields),
        "sources": _read_sources(context, fields),
        "preload": _read_preload(context, fields, words, python),
        "help": fields.help(),
    }
    return Step.model_validate({"name": entry.name, **step}) if entry.name and words else None


def _read_run(
    context: StepContext, fields: Fields, node: Node, env: Collection[str]
) -> tuple[tuple[Template, ...], bool]:
    """The program and its words, and whether it is a script for the worker's Python."""
    words = read_words(context, fields.label("run"), node, env)
    if words is None:
        return (), False
    if not words or not words[0]:
        context.reading.add(node, f"{fields.label('run')} names no program", "write the program to start")
        return (), False
    first = node.items[0] if isinstance(node, Sequence) else node
    program = words[0][0]
    if len(words[0]) > 1 or not isinstance(program, str):
        place = context.reading.document.place(first)
        if isinstance(first, Scalar):
            place = context.reading.document.place_in(first, first_expression_offset(first.text))
        message = "the program itself cannot hold an expression"
        context.reading.problems.add(place, message, "expressions may follow in the words after it")
        return (), False
    found = context.programs.find(program, made_before=context.steps_before > 0, own_path="PATH" in env)
    if found.problem:
        context.reading.add(first, found.problem, found.hint)
    if found.warning:
        context.reading.warnings.add(context.reading.document.place(first), found.warning, found.hint)
    literal = [_literal(word) for word in words[1:]]
    warning, hint = context.programs.check_script(program, literal, made_before=context.steps_before > 0)
    if warning:
        context.reading.warnings.add(context.reading.document.place(node), warning, hint)
    return ((found.program,), *words[1:]), found.python


def _warn_of_values_in_code(
    context: StepContext, fields: Fields, words: tuple[Template, ...], args: tuple[Template | OptionalWords, ...]
) -> None:
    found = find_value_in_code((*words, *args), context.parameters)
    if found is None:
        return
    number, message, hint = found
    key, number = ("run", number) if number < len(words) else ("args", number - len(words))
    node = fields.get(key)
    if isinstance(node, Sequence) and number < len(node.items):
        node = node.items[number]
    if isinstance(node, Scalar):
        place = context.reading.document.place_in(node, first_expression_offset(node.text))
        context.reading.warnings.add(place, message, hint)
    elif node is not None:
        context.reading.warnings.add(context.reading.document.place(node), message, hint)


def _literal(word: Template) -> str | None:
    """The text of a word that holds no value."""
    return None if any(isinstance(part, Reference) for part in word) else "".join(map(str, word))


def _read_preload(context: StepContext, fields: Fields, words: tuple[Template, ...], python: bool) -> tuple[str, ...]:
    own = read_preload(fields)
    if own and own.modules and words and not python:
        place = context.reading.document.place(own.modules[0][1])
        message = f"{fields.label('preload')} has no effect: its run is not a Python script of the folder"
        context.reading.problems.add(place, message, "write `run: script.py`, or remove preload")
    preload = context.preload if own is None else own
    if not python:
        return ()
    check_preload(context.reading, preload.modules, context.programs, "".join(map(str, words[0])), context.told)
    return preload.names


def _read_env(context: StepContext, fields: Fields) -> dict[str, Template]:
    node = fields.get("env")
    reading, declared, label = context.reading, context.declared, fields.label("env")
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return {}
    if not isinstance(node, Mapping):
        reading.add(node, f"{label} must be a mapping, not {kind_of(node)}", "write `env: {NAME: value}`")
        return {}
    env: dict[str, Template] = {}
    for key, value in node.entries:
        if not _ENV_NAME.fullmatch(key.text):
            hint = "use letters, digits and _, not beginning with a digit; expressions are for the values only"
            reading.add(key, f"{quoted(key.text)} cannot be the name of an environment variable", hint)
        elif key.text.startswith(_OWN_ENV_PREFIX):
            message = f"{quoted(key.text)} is reserved for pipeline_queue"
            reading.add(key, message, f"use a name that does not begin with {_OWN_ENV_PREFIX}")
        scalar = reading.scalar(value, f"{quoted(key.text)} in {label}", "write '' for an empty value")
        template = reading.template(scalar, lambda text: parse_template(text, declared))
        if scalar is not None and template is not None:
            env[key.text] = template
            warn_of_project_path(context, scalar, template)
            _refuse_own_variables(reading, scalar, template)
            what = f"{quoted(key.text)} in {label}"
            context.texts.written.append(Written(scalar, what, [name.text for name, _ in node.entries]))
            if not is_single_quoted(reading, scalar):
                text = without_variables(scalar.text, declared or (), [name.text for name, _ in node.entries])
                report_findings(reading, scalar, find_in_value(text, what, key.text))
    return env


def _refuse_own_variables(reading: Reading, scalar: Scalar, template: Template) -> None:
    """They hold the broker's password."""
    names = [part.name for part in template if isinstance(part, Reference) and part.scope == "worker"]
    if any(name.startswith(_OWN_ENV_PREFIX) for name in names):
        place = reading.document.place_in(scalar, first_expression_offset(scalar.text))
        reading.problems.add(
            place, f"steps cannot read the worker's {_OWN_ENV_PREFIX} variables", "use another variable"
        )


def _read_timeout(fields: Fields) -> float | None:
    node = fields.get("timeout")
    text = fields.reading.text(node, fields.label("timeout"), _DURATION_HINT) if node else None
    if node is None or text is None:
        return None
    seconds = duration_seconds(text)
    if seconds is None:
        message = f"{quoted(text)} is not a duration"
        fields.reading.add(node, message, _DURATION_HINT)
    elif not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        message = f"{fields.label('timeout')} must be more than 0 and at most 30 days"
        fields.reading.add(node, message, "remove it for no limit")
    else:
        return seconds
    return None


def duration_seconds(text: str) -> float | None:
    """Of `90s`, `1h30m` or plain seconds; None for what is no duration."""
    duration = text.strip().lower()
    parts = _DURATION.fullmatch(duration) if 0 < len(duration) <= 64 else None
    try:
        if parts is None:
            return float(read_value(_SECONDS, duration))
        return sum(float(count) * _UNIT_SECONDS[unit] for unit, count in parts.groupdict().items() if count)
    except ValueError:
        return None


def _read_retries(fields: Fields) -> int:
    node = fields.get("retries")
    label = fields.label("retries")
    text = fields.reading.text(node, label, "write how often to retry a failed step") if node else None
    if node is None or text is None:
        return 0
    try:
        value = read_value(_RETRIES, text)
        check_bounds(_RETRIES, value)
    except BadValueError as error:
        fields.reading.add(node, f"{label}: {error.message}", error.hint)
        return 0
    return int(value)


def _read_reuse(fields: Fields) -> str:
    node = fields.get("reuse")
    text = fields.reading.text(node, fields.label("reuse")) if node else None
    if node is None or text is None:
        return "sweep"
    if text not in get_args(Reuse):
        hint = "write sweep (runs of a sweep that need the same step share it), always (runs of all sweeps) or never"
        fields.reading.add(node, f"{quoted(text)} is not a value for reuse", hint)
        return "sweep"
    return text


def _read_keep(fields: Fields) -> str:
    node = fields.get("keep")
    text = fields.reading.text(node, fields.label("keep")) if node else None
    if node is None or text is None:
        return "on_failure"
    if text not in get_args(Keep):
        hint = "write on_failure (what a failed step left is kept for some days) or never"
        fields.reading.add(node, f"{quoted(text)} is not a value for keep", hint)
        return "on_failure"
    return text


def _read_queue(fields: Fields) -> str:
    node = fields.get("queue")
    text = fields.reading.text(node, fields.label("queue")) if node else None
    if node is None or text is None:
        return DEFAULT_QUEUE
    if not _QUEUE.fullmatch(text):
        hint = "use letters, digits, _, . and -, at most 64 in all"
        fields.reading.add(node, f"{quoted(text)} is not a valid queue name", hint)
    return text


def _read_outputs(context: StepContext, fields: Fields) -> tuple[str, ...]:
    node = fields.get("outputs")
    items = node.items if isinstance(node, Sequence) else (node,)
    for item in items:
        if not isinstance(item, Scalar) or "${{" in item.text:
            continue
        if found := find_in_output(item.text, context.declared or ()):
            problems = context.reading.problems if found.is_refused else context.reading.warnings
            problems.add(context.reading.document.place(item), found.message, found.hint)
    return _read_paths(fields, "outputs", "an output")


def _read_sources(context: StepContext, fields: Fields) -> tuple[str, ...]:
    """Paths and patterns of the pipeline's folder; what has no wildcard must be there."""
    node = fields.get("sources")
    sources = _read_paths(fields, "sources", "a source")
    for source in sources:
        if node is not None and not is_pattern(source):
            hint = "write it like a line of .gitignore, with a backslash before a literal special character"
            context.reading.add(node, f"{fields.label('sources')}: {quoted(source)} is not a pattern", hint)
        elif node is not None and not WILDCARDS & set(source) and not source.startswith(("/", "..")):
            problem, hint = context.programs.missing(source)
            if problem:
                context.reading.add(node, f"{fields.label('sources')}: {problem}", hint)
    return sources


def _read_paths(fields: Fields, key: str, what: str) -> tuple[str, ...]:
    node = fields.get(key)
    if node is None:
        return ()
    label = fields.label(key)
    single = isinstance(node, Scalar) and not node.is_null
    paths: dict[str, None] = {}
    for item in (node,) if single else fields.reading.items(node, label):
        text = fields.reading.text(item, f"a path in {label}")
        if text is None:
            continue
        path = posixpath.normpath(text)
        if not text or path == "." or path.startswith("/") or ".." in text.split("/"):
            hint = "write the path of a file or folder below the step's own folder"
            fields.reading.add(item, f"{quoted(text)} cannot be {what}", hint)
        elif path in paths:
            fields.reading.add(item, f"{quoted(text)} is listed twice in {label}", "remove one of the two")
        paths[path] = None
    return tuple(paths)
