"""Writes the pipeline file of a script, with comments that say what a reader may change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipeline_queue.contract.wording import counted
from pipeline_queue.model.parameters import text_of
from pipeline_queue.model.pipeline import Value
from pipeline_queue.scaffold.arguments import NO_DEFAULT, Argument, CommandLine

MAX_PARAMETERS = 200
_MAX_HELP_CHARACTERS = 300
_MAX_COMMENT_CHARACTERS = 110
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
_PLAIN_OPTION = re.compile(r"--?[A-Za-z0-9][A-Za-z0-9_.-]*")
_NULLS = ("null", "~")


@dataclass(frozen=True)
class Target:
    """What the file is written for: its name and the script's as the file names it, and modules worth a `preload`."""

    file: str
    script: str
    preload: tuple[str, ...] = ()
    preload_note: str = ""


def pipeline_text(target: Target, found: CommandLine) -> str:
    """The file's text; it validates, and runs once its required parameters have values."""
    named = _named(found)
    written = [one for one in named.all if not one.skipped][:MAX_PARAMETERS]
    left_out = [one for one in named.all if one not in written]
    lines = [
        *_head(target, found, written),
        "pipeline:",
        f"  name: {_identifier(_stem(target.script))}",
        "",
        *_parameters(written),
        *_left_out(left_out),
        "",
        *_step(target, named, set(map(id, written))),
        "",
        *_sweep(target, written),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def example_text(file: str) -> str:
    """The smallest file that runs, where there is no script yet."""
    return f"""\
# Written by `pipeline-queue init`: a small pipeline that runs. For your script,
# `pipeline-queue init train.py` writes one from the script's options.
#
#   pipeline-queue validate {file}
#   pipeline-queue run {file} -p name=world
#   pipeline-queue sweep {file} -p name=world,moon
pipeline:
  name: hello

  # A parameter without `default` needs a value for each run.
  # Types: float, int, bool, string, and `list of` each.
  parameters:
    - name: name
      type: string
      default: world
      help: whom to greet
    - name: times
      type: int
      default: 1
      min: 1

  # Steps run one after another; each sees the files of earlier steps.
  steps:
    - greet:
        # A program and its words; `run: train.py` starts a script of yours.
        run: [python, -c, "import sys; print(('hello ' + sys.argv[1] + '! ') * int(sys.argv[2]))"]
        # Each word is one argument, whatever its value contains: no shell.
        args:
          - ${{{{ parameters.name }}}}
          - ${{{{ parameters.times }}}}
        # outputs: [model.pkl]      # files that the step must produce
        # timeout: 2h
        # retries: 2
"""


@dataclass(frozen=True)
class _Named:
    """The arguments with names that parameters can have, none of them twice."""

    before: tuple[Argument, ...]
    words: tuple[str, ...]
    options: tuple[Argument, ...]
    positionals: tuple[Argument, ...]
    end_of_options: bool

    @property
    def all(self) -> tuple[Argument, ...]:
        return (*self.before, *self.positionals, *self.options)


def _named(found: CommandLine) -> _Named:
    seen: set[str] = set()

    def distinct(arguments: Iterable[Argument]) -> Iterator[Argument]:
        for one in arguments:
            name = base = _identifier(one.name)
            number = 2
            while name in seen:
                name, number = f"{base[:58]}_{number}", number + 1
            seen.add(name)
            yield replace(one, name=name)

    before = tuple(distinct(_expressible(found.before)))
    arguments = tuple(distinct(_expressible(found.arguments)))
    positionals = tuple(one for one in arguments if not one.option)
    options = tuple(one for one in arguments if one.option)
    # With words before it, `--` would go to another parser than the one that has the positionals.
    marked = found.end_of_options and not found.words and any(one.type != "bool" for one in positionals)
    return _Named(before, found.words, options, positionals, marked)


def _expressible(arguments: Iterable[Argument]) -> Iterator[Argument]:
    """A text or list without a default has the empty one, with which its words are left out."""
    for one in arguments:
        has_no_default = one.skipped == NO_DEFAULT or (
            one.kind == "list" and one.default_list == () and not one.skipped
        )
        is_text = one.kind == "value" and one.type == "string" and bool(one.option) and "" not in one.choices
        if one.kind == "list" and one.count is not None:
            one = replace(one, notes=(*one.notes, f"it takes {counted(one.count, 'value')}"))
        if has_no_default and is_text:
            yield replace(
                one, is_optional=True, skipped="", default="", choices=("", *one.choices) if one.choices else ()
            )
        elif has_no_default and one.kind == "list":
            yield replace(one, is_optional=bool(one.option), skipped="", default_list=())
        else:
            yield one


def _head(target: Target, found: CommandLine, written: list[Argument]) -> Iterator[str]:
    needed = "".join(f" -p {one.name}=…" for one in written if one.required)
    read = f" ({found.library})" if found.library else ""
    yield f"# Written by `pipeline-queue init` from {_comment(target.script)}{read}."
    yield "#"
    file = _comment(target.file)
    yield f"#   pipeline-queue validate {file}"
    yield f"#   pipeline-queue run {file}{needed}"
    varied = next((one.name for kind in ("float", "int") for one in written if one.type == kind), None)
    if varied:
        yield f"#   pipeline-queue sweep {file}{needed if varied not in needed else ''} -p {varied}=…,…"
    if found.subcommands:
        others = ", ".join(found.subcommands)
        yield "#"
        yield f"# The script has subcommands ({_comment(others)}): this file is for '{_comment(found.words[0])}'."
        yield "# For another: pipeline-queue init --subcommand NAME -o FILE SCRIPT"
    for note in found.notes:
        yield f"# Note: {_comment(note)}"


def _parameters(written: list[Argument]) -> Iterator[str]:
    if not written:
        yield "  # Nothing varies yet. A parameter is declared here and used in args below:"
        yield "  #   parameters:"
        yield "  #     - name: learning_rate"
        yield "  #       type: float          # or int, bool, string"
        return
    yield "  # A parameter without `default` needs a value for each run: -p NAME=VALUE."
    yield "  # type, min, max and choices are checked before anything starts."
    yield "  parameters:"
    for one in written:
        yield from (f"    {line}" for line in _parameter(one))


def _parameter(one: Argument) -> Iterator[str]:
    for note in one.notes:
        yield f"# {_comment(note)}"
    yield f"- name: {one.name}"
    yield f"  type: {_type(one)}"
    if not one.required and one.default_list is not None:
        yield f"  default: [{', '.join(map(_value, one.default_list))}]"
    elif not one.required and one.default is not None:
        yield f"  default: {_value(one.default)}"
    if one.choices:
        yield f"  choices: [{', '.join(map(_value, one.choices))}]"
    for key, bound in (("min", one.min), ("max", one.max)):
        if bound is not None:
            yield f"  {key}: {text_of(bound)}"
    if one.help:
        yield f"  help: {_help(one.help)}"


def _left_out(arguments: list[Argument]) -> Iterator[str]:
    if not arguments:
        return
    yield ""
    yield "    # The script accepts these too. To vary one, remove the # here and in args;"
    yield "    # without a default, each run then needs a value for it."
    for one in arguments:
        reason = one.skipped or f"a pipeline has at most {MAX_PARAMETERS} parameters"
        yield f"    # - {{name: {one.name}, type: {_type(one)}}}    # {_comment(reason)}"


def _step(target: Target, named: _Named, written: set[int]) -> Iterator[str]:
    yield "  # Steps run one after another; each sees the files of earlier steps."
    yield "  steps:"
    yield f"    - {_identifier(_stem(target.script))}:"
    yield f"        run: {_program(target.script)}"
    words = list(_words(named, written))
    if words:
        yield "        # Each word is one argument, whatever its value contains: no shell."
        yield "        args:"
        yield from (f"          {line}" for line in words)
    yield "        # outputs: [model.pkl]    # files that the step must produce"
    yield "        # timeout: 2h             # after that, all its processes are killed"
    yield "        # retries: 2              # how often to retry a failed step"
    if target.preload:
        yield f"        # preload: [{', '.join(target.preload)}]"
        yield "        #   imported once per worker: short runs start many times faster"
        if target.preload_note:
            yield f"        #   {_comment(target.preload_note)}"


def _words(named: _Named, written: set[int]) -> Iterator[str]:
    def lines(one: Argument) -> Iterator[str]:
        mark = "" if id(one) in written else "# "
        yield from (f"{mark}- {word}" for word in _words_of(one))

    for one in named.before:
        yield from lines(one)
    yield from (f"- {_word(word)}" for word in named.words)
    for one in named.options:
        yield from lines(one)
    if named.end_of_options:
        yield '- "--"    # nothing after this is taken for an option'
    for one in named.positionals:
        yield from lines(one)


def _words_of(one: Argument) -> tuple[str, ...]:
    """Items of `args`."""
    reference = f"${{{{ parameters.{one.name} }}}}"
    if one.kind == "switch":
        return (_switch(one),)
    if not one.option:
        return (reference,)
    words: tuple[str, ...]
    if one.separate or one.kind == "list":
        words = (_word(one.option), reference)
    else:
        joined = f"{one.option}={reference}"
        words = (joined if _PLAIN_OPTION.fullmatch(one.option) else _quoted(joined),)
    if one.is_optional:
        quoted = [word if word.startswith('"') else _quoted(word) for word in words]
        return (f"{{if: parameters.{one.name}, then: [{', '.join(quoted)}]}}",)
    return words


def _type(one: Argument) -> str:
    return f"list of {one.type}" if one.kind == "list" else one.type


def _switch(one: Argument) -> str:
    condition = f"parameters.{one.name}" if one.on else f"not parameters.{one.name}"
    otherwise = f", else: {_word(one.off)}" if one.on and one.off else ""
    return f"{{if: {condition}, then: {_word(one.on or one.off)}{otherwise}}}"


def _sweep(target: Target, written: list[Argument]) -> Iterator[str]:
    numbers = [one for one in written if one.type == "float"]
    varied = next((one for one in [*numbers, *written] if _sample(one)), None)
    if varied is None:
        return
    yield f"  # What `pipeline-queue sweep {_comment(target.file)}` runs without -p:"
    yield "  # sweep:"
    yield f"  #   grid: {{{varied.name}: [{', '.join(map(_value, _sample(varied)))}]}}"


def _sample(one: Argument) -> tuple[Value, ...]:
    """A few values that a sweep could try."""
    if one.choices:
        return one.choices[:3] if len(one.choices) > 1 else ()
    if one.min is not None or one.max is not None:
        return ()
    if one.type == "float" and isinstance(one.default, float) and one.default > 0:
        return tuple(float(f"{one.default * factor:.3g}") for factor in (0.1, 1, 10))
    return ()


def _program(script: str) -> str:
    if not script.endswith(".py"):
        return f"[python, {_value(script)}]"
    return script if _PLAIN.fullmatch(script) else f"[{_quoted(script)}]"


def _stem(script: str) -> str:
    return script.rpartition("/")[2].rpartition(".")[0] or script


def _identifier(name: str) -> str:
    """The name by the rule for names: a letter or _, then letters, digits and _, at most 64."""
    cleaned = re.sub(r"[^A-Za-z0-9_]", "_", name) or "_"
    is_one = re.match("[A-Za-z_]", cleaned) and cleaned.lower() not in _NULLS
    return (cleaned if is_one else f"_{cleaned}")[:64]


def _value(value: Value) -> str:
    text = text_of(value)
    if not isinstance(value, str) or (_PLAIN.fullmatch(text) and text.lower() not in _NULLS):
        return text
    return _quoted(text)


def _word(word: str) -> str:
    return word if _PLAIN_OPTION.fullmatch(word) or _PLAIN.fullmatch(word) else _quoted(word)


def _help(text: str) -> str:
    shown = "".join(one if one.isprintable() else " " for one in text[:_MAX_HELP_CHARACTERS])
    return _quoted(shown.replace("${{", "$${{"))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    shown = "".join(one if one.isprintable() else " " for one in text)
    return shown if len(shown) <= _MAX_COMMENT_CHARACTERS else f"{shown[: _MAX_COMMENT_CHARACTERS - 1]}…"
