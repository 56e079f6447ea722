"""Finds shell syntax in a command that no shell reads: operators, variables, globs, several lines.

What splitting takes away as a shell does, though it may have been meant, is found too: the quotes of JSON, backslashes.
The command is split into words as `expressions.split_words` does; a character counts here only where a shell would give
it its meaning, so quotes and backslashes make any of it literal. Everything takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline_queue.contract.wording import counted

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "fish"})
USE_SHELL = "to run the step in a shell, write it below `shell: |` instead of run and args"

_HIDDEN = "\0"
"""Stands for a character that quotes, a backslash or an expression keep from a shell."""

# An escaped one alone, so that nothing is looked for twice; a template that was read has its others closed.
_EXPRESSION = re.compile(r"\$\$+\{\{|\$\{\{.*?\}\}", re.DOTALL)
_PLACEHOLDER = re.compile(r"(?<!\$)\{\{[^{}\n]{0,200}\}\}")
_OPERATOR = re.compile(r"&&|\|\||\|&?|;;?|&|[0-9]*(?:>>?|<|>&|<&|<>|>\|)(?:[0-9-])?|&>>?|<<-?|<<<")
_REDIRECTION = re.compile(r"(?:[0-9]*>>?|&>>?|>&|[0-9]*<<-?<?)[^<>=\0]")
_INPUT = re.compile(r"[0-9]*<[^<=\s]")
_INNER_OPERATOR = re.compile(r"&&|\|\||[;|]")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*[^}\0]*\}|\()")
_SPECIAL = re.compile(r"\$(?:[0-9@*#?!]|\$(?!\{))|%[A-Z_][A-Z0-9_]+%")
_BRACES = re.compile(r"\{[^{}:\0]{1,100}\}")
_BRACKETS = re.compile(r"\[[^\[\],=\0]{2,100}\]")
_LOST_QUOTES = re.compile(r"(?:^|=)[\[{][^'\"\\]{0,200}['\"]")
_OPTION_AND_VALUE = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]*[ \t]+\S")
_HOME = re.compile(r"(?:^|=)~(?:/|$|[a-z_][a-z0-9_-]*(?:/|$))")
_INTERPRETER = re.compile(r"(?:python[0-9.]*|Rscript|julia|node|perl|ruby|sh|bash|dash|zsh|ksh|pip[0-9.]*|make)")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_KEYWORDS = frozenset(
    {"cd", "source", ".", "export", "unset", "alias", "eval", "exec", "set", "shopt", "trap", "ulimit", "umask"}
    | {"pushd", "popd", "local", "declare", "readonly", "let", "read", "if", "then", "else", "elif", "fi", "for"}
    | {"while", "until", "do", "done", "case", "esac", "function", "select", "{", "}", "(", ")", "[[", "!"}
)
_NEVER_MEANT = frozenset({"&&", "||", "2>&1", ">>", "&>"})
_LISTED_OPERATORS = _NEVER_MEANT | {">", "|"}
_TAKES_OPERATORS = frozenset({"expr", "find", "test", "[", "jq", "awk"})


@dataclass(frozen=True, slots=True)
class ShellFinding:
    """Something at an offset of a command's text that a shell would read differently.

    With `is_refused` the command cannot be what was meant; without, it may be.
    """

    offset: int
    message: str
    hint: str
    is_refused: bool


@dataclass(frozen=True, slots=True)
class _Word:
    """`bare`: the word, with everything hidden that is quoted; `soft`: what stands in double quotes is not hidden.

    `raw`: as it is written. `lost`: where in it the first backslash stands that is taken away before a letter, or -1.
    """

    offset: int
    line: int
    bare: str
    soft: str
    raw: str
    lost: int = -1


def find_in_run(text: str, label: str) -> list[ShellFinding]:
    """The problems of a `run` that is one text; `label` names it in messages."""
    words = list(_split(text))
    if not words:
        return []
    lines = len({word.line for word in words})
    if lines > 1:
        second = next(word for word in words if word.line != words[0].line)
        message = f"{label} has {counted(lines, 'line')}, but a step starts one program, without a shell"
        hint = "write one step per command, or put all of it below `shell: |`; a \\ at its end continues a line"
        return [ShellFinding(second.offset, message, hint, True)]
    return [*_in_program(words[0], label), *_in_words(words, label)]


def find_joined_lines(lines: Sequence[str], label: str) -> list[ShellFinding]:
    """What is wrong with a `run` whose lines YAML joins into one: a second program among them is only a word.

    `lines` are those of the file, without the sign of a folded text.
    """
    starts = [words[0] for line in lines if (words := line.split())]
    for start in starts[1:]:
        is_program = start == starts[0] or (_INTERPRETER.fullmatch(starts[0]) and _INTERPRETER.fullmatch(start))
        if is_program or (start.startswith("./") and starts[0].startswith("./")):
            message = (
                f"{label} is one command: YAML joins its lines, so {start[:60]!r} becomes an argument of the first"
            )
            hint = "write one step per command, or put all of it below `shell: |`"
            return [ShellFinding(0, message, hint, is_refused=bool(is_program))]
    return []


def find_in_args(text: str, label: str, program: str) -> list[ShellFinding]:
    """What is wrong with `args` that are one text."""
    return _in_words(list(_split(text)), label, program)


def find_in_item(text: str, label: str, program: str, is_literal: bool = False) -> list[ShellFinding]:
    """What may be wrong with one word of a list: there YAML's quotes are gone, so nothing is refused.

    `is_literal`: it stands in single quotes, which say that a `$` in it is meant.
    """
    if _name_of(program) in SHELLS:
        return []
    operators = _NEVER_MEANT if is_literal else _LISTED_OPERATORS
    if text in operators and _name_of(program) not in _TAKES_OPERATORS:
        return [ShellFinding(0, f"{text!r} in {label} is passed to the program unchanged", USE_SHELL, False)]
    if _OPTION_AND_VALUE.match(text):
        option, value = text.replace(_HIDDEN, "…").split(maxsplit=1)
        message = f"{f'{option} {value}'[:60]!r} in {label} is one word, the option and its value together"
        return [
            ShellFinding(0, message, f"write two words, {option} and {value[:60]}, or {option}={value[:60]}", False)
        ]
    word = _Word(0, 0, text, text, text)
    return [] if is_literal else [*_variables(word, label), *_home(word, label)]


def find_in_value(text: str, label: str, name: str) -> list[ShellFinding]:
    """What may be wrong with the value of an environment variable: nothing expands it."""
    hidden = _EXPRESSION.sub(lambda found: _HIDDEN * len(found[0]), text)
    found = _VARIABLE.search(hidden) or re.search(r"%[A-Za-z_][A-Za-z0-9_]*%", hidden)
    if found:
        inside = _variable_name(found[0]) or name
        hint = f"write ${{{{ worker.env.{inside} }}}} for the worker's variable"
        message = f"{found[0]!r} in {label} is taken literally: nothing expands it"
        return [ShellFinding(found.start(), message, hint, False)]
    home = re.search(r"(?:^|:)~(?:/|$|:)", hidden)
    if home:
        hint = "write ${{ worker.env.HOME }} for the home of the worker's user"
        message = f"'~' in {label} is taken literally: nothing expands it"
        return [ShellFinding(hidden.index("~", home.start()), message, hint, False)]
    return []


def _in_program(word: _Word, label: str) -> Iterator[ShellFinding]:
    if _ASSIGNMENT.match(word.bare):
        name = word.bare.partition("=")[0]
        message = f"{label} begins with {name}=…, which sets a variable only in a shell"
        yield ShellFinding(word.offset, message, f"write it below the step's `env:`, as {{{name}: …}}", True)
    elif word.bare in _KEYWORDS or word.bare.startswith("("):
        message = f"{label} begins with {word.bare!r}, which is part of the shell, not a program"
        yield ShellFinding(word.offset, message, USE_SHELL, True)


def _in_words(words: list[_Word], label: str, program: str | None = None) -> list[ShellFinding]:
    first = (words[0].soft if words else "") if program is None else program
    if _name_of(first) in SHELLS and (program is not None or any(word.bare.startswith("-") for word in words)):
        # `sh -c "…"`: a shell reads it after all.
        return [one for word in words for one in (_operators(word, label) or _lost(word, label))]
    found: list[ShellFinding] = []
    for word in words:
        operators = _operators(word, label)
        found += operators or [
            *_variables(word, label),
            *_home(word, label),
            *_globs(word, label),
            *_lost(word, label),
        ]
        if word.bare == "#":
            message = f"'#' in {label} is passed to the program with what follows: it does not start a comment here"
            hint = "quote it if that is intended; write comments on their own lines, outside the text"
            return [*found, ShellFinding(word.offset, message, hint, False)]
    return found


def _operators(word: _Word, label: str) -> list[ShellFinding]:
    shown = word.bare.replace(_HIDDEN, "…")[:60]
    if _OPERATOR.fullmatch(word.bare) or _REDIRECTION.match(word.bare):
        message = f"{shown!r} in {label} means something only to a shell, and no shell reads this"
        return [ShellFinding(word.offset, message, f"{USE_SHELL}; or quote it to pass it unchanged", True)]
    if word.bare.endswith(";") and len(word.bare) > 1:
        message = f"{shown!r} in {label} ends a command in a shell, and no shell reads this"
        return [ShellFinding(word.offset, message, f"{USE_SHELL}; or quote it to pass it unchanged", True)]
    if _INNER_OPERATOR.search(word.bare) or _INPUT.match(word.bare) or (len(word.bare) > 1 and word.bare[-1] == "&"):
        message = f"{shown!r} in {label} is passed to the program unchanged, though a shell would split it"
        return [ShellFinding(word.offset, message, "quote it if that is intended, or use `shell: |`", False)]
    return []


def _variables(word: _Word, label: str) -> list[ShellFinding]:
    found = _VARIABLE.search(word.soft) or _SPECIAL.search(word.soft)
    at = found.start() if found else word.soft.find("`")
    if at < 0:
        return []
    shown = found[0] if found else "`"
    message = f"{shown!r} in {label} is passed to the program unchanged: no shell expands it"
    hint = "put it in single quotes if that is intended; else write it below `shell: |`"
    if found:
        name = _variable_name(found[0])
        hint += f", or set a variable of the step to ${{{{ worker.env.{name} }}}} below `env:`" if name else ""
    return [ShellFinding(word.offset, message, hint, False)]


def _home(word: _Word, label: str) -> list[ShellFinding]:
    if not _HOME.search(word.bare):
        return []
    message = f"'~' in {label} is passed to the program unchanged: no shell expands it"
    return [
        ShellFinding(word.offset, message, "write the path in full; put ~ in single quotes if it is intended", False)
    ]


def _globs(word: _Word, label: str) -> list[ShellFinding]:
    hint = "quote it if that is intended, or use `shell: |`"
    braces = next((one[0] for one in _BRACES.finditer(word.bare) if "," in one[0] or ".." in one[0]), None)
    if braces:
        message = (
            f"{braces[:60]!r} in {label} is passed to the program unchanged: no shell expands it into several words"
        )
        return [ShellFinding(word.offset, message, hint, False)]
    sign = _glob_sign(word.bare)
    if not sign:
        return []
    message = f"{sign!r} in {label} is passed to the program unchanged: no shell expands it to file names"
    return [ShellFinding(word.offset, message, hint, False)]


def _glob_sign(bare: str) -> str:
    """The sign for which a shell would look for files: `*`, or `?` and `[a-z]` in what looks like a path."""
    if "*" in bare:
        return "*"
    path = bare.partition("=")[0]
    if "://" in path or not ("/" in path or "." in path):
        return ""
    return "?" if "?" in path else "[" if _BRACKETS.search(path) else ""


def _lost(word: _Word, label: str) -> list[ShellFinding]:
    """What splitting takes out of the word."""
    shown = word.raw.replace(_HIDDEN, "…")[:60]
    if _LOST_QUOTES.search(word.raw):
        message = f"the quotes in {shown!r} in {label} are removed, as a shell would"
        return [ShellFinding(word.offset, message, "put all of it in single quotes to keep them", False)]
    if word.lost >= 0:
        message = f"the backslash in {shown!r} in {label} is removed, as a shell would"
        hint = "write two backslashes, or put the word in single quotes, to keep it"
        return [ShellFinding(word.offset + word.lost, message, hint, False)]
    return []


def _variable_name(text: str) -> str:
    """The name in `$NAME`, `${NAME}`, `${NAME:-default}` or `%NAME%`; empty for what is no variable of a shell."""
    found = re.fullmatch(r"(?:\$\{?|%)([A-Za-z_][A-Za-z0-9_]*)(?:[:\-+=?#%/^,@].*)?\}?", text, re.DOTALL)
    return found[1] if found else ""


def _name_of(program: str) -> str:
    return program.rpartition("/")[2]


def _split(text: str) -> Iterator[_Word]:
    """The words with the line on which each begins; a backslash before a line's end joins two lines.

    A placeholder of another tool is one character after the other of a word: what is in it is not the shell's.
    """
    text = _PLACEHOLDER.sub(lambda found: _HIDDEN * len(found[0]), text)
    position, line = 0, 0
    while position < len(text):
        if text[position] in " \t\r\n":
            line += text[position] == "\n"
            position += 1
        elif text.startswith("\\\n", position):
            position += 2
        else:
            start = position
            position, bare, soft, lost = _take_word(text, position)
            yield _Word(start, line, bare, soft, text[start:position], lost - start if lost >= 0 else -1)


def _take_word(text: str, position: int) -> tuple[int, str, str, int]:
    """Where the word ends, its two views, and where its first lost backslash is, or -1."""
    lost = -1
    bare: list[str] = []
    soft: list[str] = []
    quote = ""
    while position < len(text) and (quote or text[position] not in " \t\r\n"):
        here = text[position]
        expression = _EXPRESSION.match(text, position) if here == "$" else None
        if expression:
            bare.append(_HIDDEN)
            soft.append(_HIDDEN)
            position = expression.end()
        elif here == quote:
            quote = ""
            position += 1
        elif not quote and here in "'\"":
            quote = here
            bare.append(_HIDDEN)
            soft.append("")
            position += 1
        elif here == "\\" and quote != "'":
            bare.append(_HIDDEN)
            soft.append(_HIDDEN)
            following = text[position + 1 : position + 2]
            if lost < 0 and not quote and (following.isalnum() or following == "."):
                lost = position
            position += 2
        else:
            bare.append(_HIDDEN if quote else here)
            soft.append(_HIDDEN if quote == "'" else here)
            position += 1
    return position, "".join(bare), "".join(soft), lost
