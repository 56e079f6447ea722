"""`completion`: the script that makes a shell complete commands, options, runs, parameters and files, and its answers.

A shell starts this program at each press of Tab: only names are read, nothing is started or connected to, and nothing
but completions is ever printed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class, split_arg_string

PROGRAM = "pipeline-queue"
VARIABLE = "_PIPELINE_QUEUE_COMPLETE"
MAX_SWEEPS = 200
MAX_RUNS = 1_000
_MAX_NAMED_SWEEPS = 30
_MAX_RECORD_BYTES = 1024 * 1024
_SHELLS = ("bash", "zsh", "fish")
_PARAMETER = re.compile(r"^\s*-\s*\{?\s*name:\s*['\"]?([A-Za-z_][A-Za-z0-9_-]{0,63})", re.MULTILINE)

# What ends in = or / goes on: no space after it.
_BASH_WITHOUT_SPACE = """
_pipeline_queue_completion_open() {
    _pipeline_queue_completion "$@"
    [[ ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace
    return 0
}
complete -o nosort -F _pipeline_queue_completion_open pipeline-queue
"""
_SAFE = re.compile(r"[\w.@%+,/~-]+=?")
_ZSH_ADDS = "compadd -U -V unsorted -a completions"
_ZSH_IS_OPEN = "[[ ${completions[1]} == *[=/] ]]"

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, runs, sweeps, parameters and files.

    \b
    bash, in ~/.bashrc:                        eval "$(pipeline-queue completion bash)"
    zsh, in ~/.zshrc:                          eval "$(pipeline-queue completion zsh)"
    fish, in ~/.config/fish/config.fish:       pipeline-queue completion fish | source
    """
    from pipeline_queue.cli import cli

    made = get_completion_class(shell)
    if made is not None:
        # Not the source() of bash's own class: it starts a bash to ask for its version.
        source = ShellComplete.source(made(cli, {}, PROGRAM, VARIABLE))
        click.echo(source.replace(_ZSH_ADDS, f"if {_ZSH_IS_OPEN}; then {_ZSH_ADDS} -S ''; else {_ZSH_ADDS}; fi"))
    if shell == "bash":
        click.echo(_BASH_WITHOUT_SPACE)


def complete_parameters(command: click.Command) -> None:
    """Gives the command's parameters their completions, by what they are called."""
    for parameter in command.params:
        completer = _COMPLETERS.get(parameter.name or "")
        if completer is not None:
            setattr(parameter, "shell_complete", _Quiet(parameter, completer))  # noqa: B010 - one parameter's own


class _Quiet:
    """A completer that has no answer where it would fail."""

    def __init__(self, parameter: click.Parameter, completer: Completer) -> None:
        self._parameter = parameter
        self._completer = completer

    def __call__(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        try:
            return self._completer(ctx, self._parameter, incomplete)
        except Exception:  # noqa: BLE001 - at a prompt there is nobody to tell
            return []


def _complete_runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sweeps and single runs, the newest first, by id or name; after `SWEEP.` the runs of that one."""
    root = _storage_root()
    sweep, dot, _ = incomplete.rpartition(".")
    if dot and _is_name(sweep):
        return _items(_runs(root / "sweeps" / sweep, sweep), incomplete)
    return _items([*_sweeps(root), *_given_names(root), "last"], incomplete)


def _storage_root() -> Path:
    """The storage that commands which look would read."""
    from pipeline_queue.contract.settings import BROKER_URL, STORAGE
    from pipeline_queue.local.folder import DataFolder

    if os.environ.get(BROKER_URL) and os.environ.get(STORAGE):
        return Path(os.environ[STORAGE]).expanduser()
    return DataFolder.nearest(os.environ, Path.cwd()).storage


def _sweeps(root: Path) -> list[str]:
    from pipeline_queue.contract.ids import is_sweep_id

    with os.scandir(root / "sweeps") as entries:
        found = [(entry.stat().st_mtime, entry.name) for entry in entries if is_sweep_id(entry.name)]
    return [name for _, name in sorted(found, reverse=True)[:MAX_SWEEPS]]


def _given_names(root: Path) -> Iterator[str]:
    """The names that people gave to the newest sweeps."""
    for sweep in _sweeps(root)[:_MAX_NAMED_SWEEPS]:
        name = _record(root, sweep).get("name")
        if isinstance(name, str) and name and name.isprintable():
            yield name


def _record(root: Path, sweep: str) -> dict[str, Any]:
    try:
        with (root / "sweeps" / sweep / "sweep.json").open("rb") as file:
            data = json.loads(file.read(_MAX_RECORD_BYTES))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _runs(folder: Path, sweep: str) -> list[str]:
    """The runs that have begun, by the folders they have."""
    with os.scandir(folder / "runs") as entries:
        indexes = {entry.name.partition("-")[0] for entry in islice(entries, MAX_RUNS)}
    numbers = sorted(int(index) for index in indexes if index.isascii() and index.isdigit())
    return [f"{sweep}.{number}" for number in numbers]


def _is_name(text: str) -> bool:
    from pipeline_queue.contract.ids import is_sweep_id

    return is_sweep_id(text)


def _complete_step(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The steps of the run that was named before."""
    root = _storage_root()
    given = ctx.params.get("run")
    text = given if isinstance(given, str) else ""
    sweeps = _sweeps(root)
    found = sweeps[:1] if text == "last" else [one for one in sweeps if text.rpartition(".")[0] == one or text in one]
    pipeline = _record(root, found[0]).get("pipeline", {}) if found else {}
    return _items([step["name"] for step in pipeline.get("steps", ())], incomplete)


def _complete_values(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`name=` for each parameter of the pipeline file that has no value yet."""
    # An option without its value ends click's parsing, so the file is not in ctx.params.
    words = split_arg_string(os.environ.get("COMP_WORDS", ""))[2:]
    file = next((Path(word).expanduser() for word in words if Path(word).expanduser().is_file()), None)
    if file is None:
        return []
    given = {value.partition("=")[0] for value in words}
    with file.open("rb") as opened:
        text = opened.read(_MAX_RECORD_BYTES).decode(errors="replace")
    return _items([f"{name}=" for name in _parameter_names(file, text) if name not in given], incomplete)


def _parameter_names(path: Path, text: str) -> list[str]:
    """Read as commands read it; of a file with mistakes, what looks like a parameter."""
    from pipeline_queue.contract.errors import PipelineFileError
    from pipeline_queue.loading.loader import load_pipeline

    try:
        return [parameter.name for parameter in load_pipeline(path).pipeline.parameters]
    except PipelineFileError:
        return _PARAMETER.findall(text)


def _complete_pipeline_file(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _files(incomplete, (".yaml", ".yml"))


def _complete_script(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _files(incomplete, (".py",))


def _files(incomplete: str, endings: tuple[str, ...]) -> list[CompletionItem]:
    """Files with one of these endings, and folders; any file where there is none of both."""
    head, slash, start = incomplete.rpartition("/")
    folder = Path(f"{head}{slash}" or ".").expanduser()
    found: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                if entry.is_dir():
                    found.append(f"{head}{slash}{entry.name}/")
                elif entry.name.endswith(endings):
                    found.append(f"{head}{slash}{entry.name}")
    if not all(map(_SAFE.fullmatch, found)):
        return [CompletionItem(incomplete, type="file")]  # the shell knows how to quote them
    files = sorted(name for name in found if not name.endswith("/"))
    folders = sorted(name for name in found if name.endswith("/") and not name.endswith("pipeline-queue-data/"))
    return [CompletionItem(name) for name in [*files, *folders]] or [CompletionItem(incomplete, type="file")]


def _items(names: list[str], incomplete: str) -> list[CompletionItem]:
    """Those that begin like it. A name that a shell would read as more than its characters is never offered."""
    return [
        CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete) and _SAFE.fullmatch(name)
    ]


_COMPLETERS: dict[str, Completer] = {
    "run": _complete_runs,
    "runs": _complete_runs,
    "sweep": _complete_runs,
    "sweep_name": _complete_runs,
    "against": _complete_runs,
    "step": _complete_step,
    "values": _complete_values,
    "file": _complete_pipeline_file,
    "script": _complete_script,
}
