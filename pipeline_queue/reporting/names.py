"""Finds the sweep or run that a user's text names: an id, a given name, a unique part of one, or `last`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline_queue.contract.errors import InputError, NotFoundError
from pipeline_queue.contract.ids import RunId, is_sweep_id, named_sweep_id
from pipeline_queue.contract.wording import counted
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.storage.run_store import RunStore

_MAX_SHOWN_CHARACTERS = 100
_MAX_SHOWN_NAMES = 5


def resolve(storage: RunStore, text: str) -> str:
    """The full id of the run that `text` names; run 0 where it names a sweep. Raises NotFoundError."""
    if is_sweep_id(text):
        return str(Sweep.read(storage, text).run_id(0))
    if not _names_a_run(text) or _named(text, storage.sweeps())[0]:
        return f"{_only_sweep(storage, text)}.0"
    sweep, _, index = text.rpartition(".")
    return f"{sweep}.{index}" if is_sweep_id(sweep) else f"{_only_sweep(storage, sweep)}.{index}"


def find_sweep(storage: RunStore, text: str) -> Sweep:
    """The sweep that `text` names, or the sweep of the run that it names. Raises NotFoundError."""
    return Sweep.read(storage, RunId.parse(resolve(storage, text)).sweep)


def find_run(storage: RunStore, text: str) -> tuple[Sweep, RunId]:
    """The run that `text` names, with its sweep. Raises NotFoundError, and InputError for a sweep of several runs."""
    run = RunId.parse(resolve(storage, text))
    sweep = Sweep.read(storage, run.sweep)
    total = len(sweep.space)
    if total > 1 and not _names_a_run(text):
        first, last = sweep.run_id(0), sweep.run_id(total - 1)
        raise InputError(f"{run.sweep} is a sweep of {counted(total, 'run')}; name one of them: {first} to {last}")
    return sweep, sweep.run_id(run.index)


def names_a_sweep(storage: RunStore, text: str) -> bool:
    """Whether `text` names a sweep of several runs as a whole, not one run of it. Raises NotFoundError."""
    run = RunId.parse(resolve(storage, text))
    return not _names_a_run(text) and len(Sweep.read(storage, run.sweep).space) > 1


def _only_sweep(storage: RunStore, part: str) -> str:
    if part == "last":
        newest = next(storage.sweeps(), None)
        if newest is None:
            raise NotFoundError(f"there are no runs yet in {storage.where()}")
        return newest
    shown = part[:_MAX_SHOWN_CHARACTERS]
    named, names = _named(part, storage.sweeps())
    if len(named) == 1:
        return named[0]
    if named:
        raise NotFoundError(f"several sweeps are called '{shown}': {_listed(named)}; give the id")
    matches = [name for name in names if part and (name.startswith(part) or name.rpartition("-")[2].startswith(part))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise NotFoundError(f"'{shown}' may be any of {_listed(sorted(matches))}; give more of the name")
    raise NotFoundError(f"there is no run '{shown}' in {storage.where()}; `pipeline-queue status` lists them")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MAX_SHOWN_NAMES])


def _names_a_run(text: str) -> bool:
    """Whether a text ends in the index of a run. The name of a sweep may contain dots too."""
    return re.fullmatch(r".*\.(0|[1-9][0-9]{0,8})", text, re.DOTALL) is not None


def _named(text: str, sweeps: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of all sweeps, those that were given this name when they were submitted; and all sweeps."""
    every = list(sweeps)
    pipelines = {sweep.rpartition("-")[0] for sweep in every}
    return sorted({named_sweep_id(pipeline, text) for pipeline in pipelines} & set(every)), every
