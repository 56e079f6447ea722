"""Reads what a script takes on its command line, by whichever library it uses for that."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline_queue.contract.errors import InputError, PipelineFileError, Place, Problem
from pipeline_queue.model.problems import listed, quoted
from pipeline_queue.scaffold import (
    argparse_options,
    argv_use,
    click_options,
    dataclass_options,
    typer_options,
)
from pipeline_queue.scaffold.arguments import Argument, CommandLine
from pipeline_queue.scaffold.interpretation import Interpreter
from pipeline_queue.scaffold.parsers import Group, Parser, Parsers
from pipeline_queue.scaffold.script import Script, read_script
from pipeline_queue.scaffold.script_values import source_text

_MAX_MODULES = 50
_KEY_VALUE = "write its overrides as words of args, such as `lr=${{ parameters.lr }}`"
_FLAGS = "write its flags as words of args, such as `--lr=${{ parameters.lr }}`"
_NOT_READ = {
    "hydra": ("Hydra", _KEY_VALUE),
    "omegaconf": ("OmegaConf", _KEY_VALUE),
    "sacred": ("Sacred", "write its overrides as words of args, such as `with lr=${{ parameters.lr }}`"),
    "absl": ("absl", _FLAGS),
    "fire": ("Fire", _FLAGS),
    "docopt": ("docopt", _FLAGS),
    "tyro": ("tyro", _FLAGS),
    "jsonargparse": ("jsonargparse", _FLAGS),
    "simple_parsing": ("simple-parsing", _FLAGS),
    "tap": ("Tap", _FLAGS),
    "cyclopts": ("Cyclopts", _FLAGS),
    "gin": ("gin", _FLAGS),
    "plac": ("plac", _FLAGS),
    "getopt": ("getopt", _FLAGS),
    "pydantic_settings": ("pydantic-settings", _FLAGS),
    "lightning.pytorch.cli": ("LightningCLI", _FLAGS),
    "pytorch_lightning.cli": ("LightningCLI", _FLAGS),
}


def read_command_line(script: Script, subcommand: str | None = None) -> CommandLine:
    """Raises PipelineFileError for a library that cannot be read, InputError when there is no such subcommand."""
    parsers = Parsers()
    interpreter = Interpreter(parsers.makers() | click_options.makers(), _ModulesBeside(script.path).read)
    interpreter.follow(script.tree)
    if not parsers.used() and _adds_arguments(script.tree):
        _follow_what_nothing_calls(interpreter)
    found = _by_library(script, interpreter, parsers, subcommand)
    if subcommand is not None and subcommand not in found.subcommands:
        there = f"its subcommands are {listed(found.subcommands)}" if found.subcommands else "it has none"
        raise InputError(f"{script.path} has no subcommand {quoted(subcommand)}; {there}")
    notes = [*found.notes, *_added_elsewhere(interpreter)]
    return replace(found, arguments=tuple(_without_gaps(found.arguments)), notes=tuple(notes))


def _by_library(script: Script, interpreter: Interpreter, parsers: Parsers, subcommand: str | None) -> CommandLine:
    used = parsers.used()
    if used:
        return argparse_options.command_line(used, subcommand)
    calls = dataclass_options.find_calls(interpreter)
    if calls:
        return dataclass_options.command_line(interpreter, calls)
    commands = click_options.find_commands(interpreter)
    if commands:
        return click_options.command_line(interpreter, commands, subcommand)
    apps = typer_options.find_commands(interpreter)
    if apps.commands:
        return typer_options.command_line(interpreter, apps, subcommand)
    _refuse_what_is_not_read(script)
    found = argv_use.command_line(interpreter, script.tree)
    return found or CommandLine("", notes=("no use of command-line arguments was found in the script",))


def _refuse_what_is_not_read(script: Script) -> None:
    for node, module in _imports(script.tree):
        for name in (module, module.partition(".")[0]):
            if name in _NOT_READ:
                library, hint = _NOT_READ[name]
                place = Place(str(script.path), node.lineno, node.col_offset + 1)
                message = f"init cannot read the options of a script that uses {library}"
                start = "start from the example that `pipeline-queue init --example` writes"
                raise PipelineFileError((Problem(place, message, f"{start}, and {hint}"),))


def _imports(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node, node.module or ""


def _adds_arguments(tree: ast.AST) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr in ("add_argument", "add_option") for one in ast.walk(tree))


def _follow_what_nothing_calls(interpreter: Interpreter) -> None:
    """Functions that add arguments: an installed command may call them, or code that was not followed."""
    for function in [one for one in interpreter.functions if _adds_arguments(one.node)]:
        interpreter.follow_function(function)


def _added_elsewhere(interpreter: Interpreter) -> Iterator[str]:
    """Calls that were given a parser and could not be followed into."""
    for node, values in interpreter.unfollowed:
        if any(isinstance(value, (Parser, Group)) for value in values):
            yield f"line {node.lineno}: options that {source_text(node.func)}() adds are not read"


def _without_gaps(arguments: tuple[Argument, ...]) -> Iterator[Argument]:
    """A positional that is left out would give its place to the next: it is required when one follows."""
    positions = [number for number, one in enumerate(arguments) if not one.option and not one.skipped]
    last = max(positions, default=-1)
    for number, one in enumerate(arguments):
        gap = not one.option and one.skipped and number < last
        yield replace(one, skipped="", required=True) if gap else one


class _ModulesBeside:
    """Reads the modules that lie beside a script, as its imports would find them."""

    def __init__(self, script: Path) -> None:
        self._folder = script.parent
        self._count = 0

    def read(self, name: str) -> ast.Module | None:
        base = self._folder.joinpath(*name.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if self._count < _MAX_MODULES and path.is_file():
                self._count += 1
                try:
                    return read_script(path).tree
                except PipelineFileError:
                    return None
        return None
