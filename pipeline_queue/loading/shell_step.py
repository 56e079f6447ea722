"""Reads `shell:`, a step's script in the pipeline file: bash reads it unchanged, and values are variables.

Nothing is ever put into the text. A parameter `learning_rate` is `$PARAM_LEARNING_RATE` in the script, set for the
parameters that the script names, so that a step that names none can be shared like any other.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Mapping

from pipeline_queue.loading.fields import Fields, Reading
from pipeline_queue.loading.nodes import Node, Scalar
from pipeline_queue.loading.usage import Texts, Written
from pipeline_queue.model.pipeline import Reference, Template
from pipeline_queue.model.problems import quoted, suggestion

PREFIX = "PARAM_"
COMMAND = ("bash", "-euo", "pipefail", "-c")
MAX_SCRIPT_BYTES = 100_000
"""Linux takes 131,071 bytes for one argument."""

_MENTION = re.compile(rf"(?<![A-Za-z0-9_]){PREFIX}[A-Za-z0-9_]+")
_COMMENT_LINE = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_ASSIGNED = re.compile(r"(?<![\w$])([A-Za-z_]\w*)\+?=|\bfor\s+([A-Za-z_]\w*)|\bread\s+(?:-\w+\s+)*([A-Za-z_]\w*)")
_BASH_LINE = re.compile(r"line (\d+): (.*)")
_SYNTAX_SECONDS = 5.0


def variable_of(parameter: str) -> str:
    """`learning-rate` -> `PARAM_LEARNING_RATE`."""
    return PREFIX + parameter.upper().replace("-", "_")


def read_shell(
    reading: Reading,
    fields: Fields,
    node: Node,
    declared: Collection[str] | None,
    env: Mapping[str, Template],
    texts: Texts,
    name: str,
) -> tuple[tuple[Template, ...], dict[str, Template]] | None:
    """The command and the environment of the step called `name`, or None with the problems recorded."""
    label = fields.label("shell")
    for key in ("run", "args"):
        other = fields.get(key)
        if other is not None:
            reading.add(other, f"{fields.owner} has both shell and {key}", "keep one of them")
    scalar = reading.scalar(node, label, "write `shell: |` and the script below it, indented")
    if scalar is None or not _check_text(reading, scalar, label):
        return None
    known = {*env, *_assigned(scalar.text), *map(variable_of, declared or ())}
    texts.written.append(Written(scalar, label, known, script=True))
    values = _values(reading, scalar, declared, env)
    _check_syntax(reading, scalar, label)
    return (*((word,) for word in COMMAND), (scalar.text,), (name,)), {**values, **env}


def _assigned(script: str) -> set[str]:
    """The names that the script gives values itself."""
    return {name for names in _ASSIGNED.findall(script) for name in names if name}


def _check_text(reading: Reading, scalar: Scalar, label: str) -> bool:
    if not scalar.text.strip():
        reading.add(scalar, f"{label} is empty", "write the script below it, indented")
        return False
    if len(scalar.text.encode(errors="replace")) > MAX_SCRIPT_BYTES:
        hint = "move it to a file in the pipeline's folder, and write `run: bash script.sh`"
        reading.add(scalar, f"{label} is longer than {MAX_SCRIPT_BYTES:,} bytes", hint)
        return False
    at = scalar.text.find("${{")
    if at >= 0:
        hint = 'a parameter x is "$PARAM_X" in the script: values are never put into its text'
        reading.problems.add(reading.document.place_in(scalar, at), f"{label} cannot hold an expression", hint)
        return False
    return True


def _values(
    reading: Reading, scalar: Scalar, declared: Collection[str] | None, env: Mapping[str, Template]
) -> dict[str, Template]:
    """The variables for the parameters that the script names."""
    if declared is None:
        return {}
    parameters: dict[str, list[str]] = {}
    for name in declared:
        parameters.setdefault(variable_of(name), []).append(name)
    values: dict[str, Template] = {}
    for found in _MENTION.finditer(_without_comments(scalar.text)):
        variable = found[0]
        if variable in values or variable in env:
            continue
        place = reading.document.place_in(scalar, found.start())
        names = parameters.get(variable, [])
        if not names:
            hint = suggestion(variable, parameters, "variables of parameters")
            reading.problems.add(place, f"{quoted(variable)} belongs to no parameter", hint)
        elif len(names) > 1:
            message = f"{variable} is ambiguous: it could be the parameter {' or '.join(map(repr, names))}"
            reading.problems.add(place, message, "rename one of them")
        else:
            values[variable] = (Reference(scope="parameters", name=names[0]),)
    return values


def _without_comments(script: str) -> str:
    """The script, of the same length, without its lines of comments; a here-document has none."""
    return script if "<<" in script else _COMMENT_LINE.sub(lambda found: " " * len(found[0]), script)


def _check_syntax(reading: Reading, scalar: Scalar, label: str) -> None:
    """Reports what this machine's bash, if any, rejects in the script, without executing it."""
    bash = shutil.which("bash")
    if bash is None or "\0" in scalar.text:
        return
    try:
        done = subprocess.run(
            [bash, "-n"], input=scalar.text.encode(errors="replace"), capture_output=True, timeout=_SYNTAX_SECONDS,
            env={"LC_ALL": "C"}, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode == 0:
        return
    found = _BASH_LINE.search(done.stderr.decode(errors="replace"))
    line, said = (int(found[1]), found[2]) if found else (1, "it cannot be read")
    offset = sum(len(text) for text in scalar.text.splitlines(keepends=True)[: line - 1])
    place = reading.document.place_in(scalar, offset)
    reading.problems.add(place, f"{label}: bash cannot read line {line} of the script: {said}")
