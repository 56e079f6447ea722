"""`init`: a first pipeline file, from a script's own options or as a small example."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pipeline_queue.contract.errors import InputError
from pipeline_queue.model.problems import listed
from pipeline_queue.scaffold.candidates import find_scripts
from pipeline_queue.scaffold.heavy_imports import heavy_imports, sets_environment_first
from pipeline_queue.scaffold.pipeline_text import Target, example_text, pipeline_text
from pipeline_queue.scaffold.reading import read_command_line
from pipeline_queue.scaffold.script import read_script

_DEFAULT_FILE = "pipeline.yaml"
_STDOUT = "-"


@click.command()
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE", help="Write to FILE (default: pipeline.yaml); - means standard output.")
@click.option("--subcommand", metavar="NAME", help="Use this subcommand of SCRIPT (default: the first).")
@click.option("--example", is_flag=True, help="Write a small example, even if there are scripts.")
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
def init(script: Path | None, output: str | None, subcommand: str | None, example: bool, force: bool) -> None:
    """Write a first pipeline file from the options of SCRIPT, a Python script.

    Reads its source (argparse, optparse, click, typer, dataclasses of HfArgumentParser, sys.argv) and never runs it.
    Without SCRIPT, uses the only script in this folder, or writes a small example.

    \b
    Examples:
      pipeline-queue init train.py
      pipeline-queue init src/train.py -o experiments.yaml
      pipeline-queue init train.py -o -
    """
    if example and (script is not None or subcommand is not None):
        raise InputError("--example cannot be combined with SCRIPT or --subcommand; leave one of them out")
    if output == "":
        raise InputError("-o needs a file name, or - for standard output")
    target = Path(output if output not in (None, _STDOUT) else _DEFAULT_FILE)
    if output != _STDOUT:
        _check_target(target, force)
    chosen = None if example else script or _only_script(Path.cwd())
    if chosen is None and subcommand is not None:
        raise InputError("--subcommand needs a SCRIPT that has subcommands")
    text = example_text(target.name) if chosen is None else _text_for(chosen, target, subcommand)
    if output == _STDOUT:
        click.echo(text, nl=False)
        return
    _write(target, text, force)
    source = f"from {chosen}" if chosen else "as a small example"
    click.echo(f"wrote {target} {source}; next: pipeline-queue validate {target}", err=True)


def _text_for(script: Path, target: Path, subcommand: str | None) -> str:
    read = read_script(script)
    name = _relative(script, target)
    found = read_command_line(read, subcommand)
    preload = heavy_imports(read.tree, script.parent)
    note = "the script sets os.environ, which would then be too late: set those variables in `env`" if preload else ""
    return pipeline_text(
        Target(target.name, name, preload, note if sets_environment_first(read.tree) else ""),
        found,
    )


def _relative(script: Path, target: Path) -> str:
    """The script's path in the pipeline file. Raises InputError if the script is outside the file's folder."""
    folder = Path(os.path.realpath(target.parent))
    path = Path(os.path.realpath(script.parent)) / script.name
    if not path.is_relative_to(folder) or not Path(os.path.realpath(script)).is_relative_to(folder):
        raise InputError(
            f"the script {script} is outside {folder}, and only the pipeline file's folder is copied to the workers; "
            f"write the pipeline file next to the script: -o {script.parent / _DEFAULT_FILE}"
        )
    return path.relative_to(folder).as_posix()


def _only_script(folder: Path) -> Path | None:
    """The only script of the folder, None if there is none; raises InputError if there are several."""
    found = find_scripts(folder)
    if len(found) > 1:
        names = listed([path.as_posix() for path in found])
        raise InputError(f"found several scripts: {names}; name one: pipeline-queue init {found[0]}")
    return found[0] if found else None


def _check_target(target: Path, force: bool) -> None:
    if target.is_dir():
        raise InputError(f"{target} is a folder; name a file: -o {target / _DEFAULT_FILE}")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist; create it first, or name another file with -o")
    if os.path.lexists(target) and not force:
        raise InputError(f"{target} already exists; name another file with -o, or overwrite it with --force")


def _write(target: Path, text: str, force: bool) -> None:
    """Writes the whole file or nothing; without `force`, never overwrites a file that appeared meanwhile."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
        if force:
            temporary.replace(target)
        else:
            os.link(temporary, target)
    except FileExistsError as error:
        raise InputError(f"{target} already exists; overwrite it with --force") from error
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}; name another file with -o") from error
    finally:
        temporary.unlink(missing_ok=True)
