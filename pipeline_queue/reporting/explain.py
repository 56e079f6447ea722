"""Why a step of a run was executed or reused, and what made its identity differ from another run's.

Everything is worked out from the records of the storage: nothing has to be kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from pipeline_queue.contract.errors import InputError, NotFoundError, StorageError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.planning.inputs import select_sources
from pipeline_queue.planning.planner import step_named
from pipeline_queue.planning.step_key import StepKey, own_because
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.runs import StepFiles, find_steps
from pipeline_queue.storage.run_store import RunStore
from pipeline_queue.storage.snapshot import read_contents

_MAX_NEIGHBOURS = 50
_MAX_SWEEPS = 20
_MAX_NAMES = 5
_SHOWN_CHARACTERS = 200

Decision = Literal["executed", "reused", "running", "not yet", "not reached"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One component of one step's identity in which two runs differ, as it is in each."""

    step: str
    component: Literal["command", "environment", "outputs", "source", "repetition", "links", "steps"]
    here: str
    there: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The run that is nearest to this one, and in what it differs; in nothing when it has the same identity."""

    run: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`because` says why the step was executed by this run or which one was reused; `reuse` is what the file says."""

    run: str
    step: str
    decision: Decision
    because: str
    reuse: str
    identity: str
    executed_by: str | None
    attempts: int
    compared: Comparison | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(storage: RunStore, sweep: Sweep, run: RunId, step: str, against: tuple[Sweep, RunId] | None) -> Explanation:
    """`against` is the run to compare with, None for the nearest. Raises InputError for an unknown step."""
    steps = [one.name for one in sweep.pipeline.steps]
    if step not in steps:
        raise InputError(f"run {run} has no step '{step[:64]}'; its steps are {', '.join(steps)}")
    declared = step_named(sweep.pipeline, step)
    paths = sweep.paths(storage, run)
    found = find_steps(sweep, paths, paths.names())
    files = next(files for files in found if files.name == step)
    executed_by = files.record.run if files.record else None
    identity = sweep.identity(step, run)
    others = [against] if against else _others(storage, sweep, run)
    return Explanation(
        run=str(run),
        step=step,
        decision=_decision(files, found, run),
        because=_because(sweep, step, files, run),
        reuse=declared.reuse,
        identity=identity.digest,
        executed_by=executed_by,
        attempts=files.record.attempt if files.record else 0,
        compared=_nearest(storage, (sweep, run), others, step),
    )


def compare(
    storage: RunStore, here: tuple[Sweep, RunId], there: tuple[Sweep, RunId], step: str
) -> tuple[Difference, ...]:
    """Every component in which the identities of the step, or of one before it, differ."""
    mine, theirs = _step_keys(*here, step), _step_keys(*there, step)
    if list(mine) != list(theirs):
        return (Difference(step, "steps", ", ".join(mine), ", ".join(theirs)),)
    differences: list[Difference] = []
    for name in mine:
        differences += _different(name, mine[name], theirs[name])
        if mine[name].source != theirs[name].source:
            text = _sources(storage, here[0], there[0], name)
            differences.append(Difference(name, "source", text, ""))
    return tuple(differences)


def _decision(files: StepFiles, found: Iterable[StepFiles], run: RunId) -> Decision:
    if files.record and files.record.state != "retrying":
        return "executed" if files.record.run == str(run) else "reused"
    if files.folder:
        return "running"
    before = [one for one in found if one.name != files.name and not one.published and one.record]
    return "not reached" if before else "not yet"


def _because(sweep: Sweep, step: str, files: StepFiles, run: RunId) -> str:
    own = own_because(sweep.pipeline, sweep.space, step)
    if own is not None:
        return own
    if files.record is None:
        return "the step has not ended; runs with the same identity wait for the one that executes it"
    if files.record.run != str(run):
        return f"run {files.record.run} has executed the step with the same identity"
    return "no run with the same identity had executed it before"


def _others(storage: RunStore, sweep: Sweep, run: RunId) -> Iterator[tuple[Sweep, RunId]]:
    """Runs worth comparing with: neighbours of the sweep, then of earlier sweeps of the same pipeline."""
    before = range(run.index - 1, max(-1, run.index - 1 - _MAX_NEIGHBOURS), -1)
    after = range(run.index + 1, min(len(sweep.space), run.index + 1 + _MAX_NEIGHBOURS))
    for index in (*before, *after):
        yield sweep, RunId(run.sweep, index)
    earlier = (name for name in storage.sweeps() if name != run.sweep and name.startswith(f"{sweep.pipeline.name}-"))
    for name in islice(earlier, _MAX_SWEEPS):
        try:
            other = Sweep.read(storage, name)
        except (NotFoundError, StorageError):
            continue
        if other.record.created_at <= sweep.record.created_at:
            for index in range(min(len(other.space), _MAX_NEIGHBOURS)):
                yield other, RunId(name, index)


def _nearest(
    storage: RunStore, here: tuple[Sweep, RunId], others: Iterable[tuple[Sweep, RunId]], step: str
) -> Comparison | None:
    """The run whose step was executed and differs in the fewest parts; a later sweep before an earlier one."""
    best: tuple[int, tuple[Sweep, RunId]] | None = None
    mine = _step_keys(*here, step)
    for other in others:
        distance = _distance(mine, _step_keys(*other, step))
        if (best is None or distance < best[0]) and _is_executed(storage, *other, step):
            best = distance, other
            if distance == 0:
                break
    if best is None:
        return None
    return Comparison(str(best[1][1]), compare(storage, here, best[1], step))


def _is_executed(storage: RunStore, sweep: Sweep, run: RunId, step: str) -> bool:
    return sweep.paths(storage, run).step(step).record() is not None


def _step_keys(sweep: Sweep, run: RunId, step: str) -> dict[str, StepKey]:
    """Of the steps up to and with this one; empty when there is no such step."""
    pipeline = sweep.pipeline
    if not pipeline.has(step):
        return {}
    return {name: sweep.identity(name, run) for name in (*pipeline.before(step), step)}


def _distance(mine: Mapping[str, StepKey], theirs: Mapping[str, StepKey]) -> int:
    """How many words, variables and components differ; much for other steps."""
    if list(mine) != list(theirs):
        return 1_000_000
    return sum(
        len(_different(name, mine[name], theirs[name])) + (mine[name].source != theirs[name].source) for name in mine
    )


def _different(step: str, mine: StepKey, theirs: StepKey) -> list[Difference]:
    """The components but the source, whose files have to be looked at."""
    differences = []
    if len(mine.command) == len(theirs.command):
        words = [pair for pair in zip(mine.command, theirs.command, strict=True) if pair[0] != pair[1]]
        differences += [Difference(step, "command", _shown(here), _shown(there)) for here, there in words]
    elif mine.command != theirs.command:
        commands = [_shown(" ".join(command)) for command in (mine.command, theirs.command)]
        differences.append(Difference(step, "command", *commands))
    for name in sorted(mine.environment.keys() | theirs.environment.keys()):
        here, there = mine.environment.get(name), theirs.environment.get(name)
        if here != there:
            differences.append(Difference(step, "environment", _variable(name, here), _variable(name, there)))
    if mine.outputs != theirs.outputs:
        differences.append(Difference(step, "outputs", ", ".join(mine.outputs), ", ".join(theirs.outputs)))
    if mine.links != theirs.links:
        here, there = (", ".join(f"{name} -> {to}" for name, to in one.links.items()) for one in (mine, theirs))
        differences.append(Difference(step, "links", _shown(here), _shown(there)))
    if mine.repetition != theirs.repetition:
        differences.append(Difference(step, "repetition", str(mine.repetition), str(theirs.repetition)))
    return differences


def _sources(storage: RunStore, here: Sweep, there: Sweep, step: str) -> str:
    """Which files are other ones, by name."""
    mine, theirs = _seen(storage, here, step), _seen(storage, there, step)
    if mine is None or theirs is None:
        return "the folder has changed (the other snapshot no longer exists)"
    parts = {
        "changed": [name for name in mine if name in theirs and mine[name] != theirs[name]],
        "added": [name for name in mine if name not in theirs],
        "removed": [name for name in theirs if name not in mine],
    }
    told = [f"{kind}: {_listed(names)}" for kind, names in parts.items() if names]
    return "; ".join(told) or "the step declares other sources"


def _seen(storage: RunStore, sweep: Sweep, step: str) -> dict[str, str] | None:
    """Name -> digest of what the step sees of its snapshot, None when that is gone."""
    try:
        contents = read_contents(storage, sweep.record.snapshot)
    except StorageError:
        return None
    return {name: contents[name] for name in select_sources(step_named(sweep.pipeline, step), sorted(contents))}


def _variable(name: str, value: str | None) -> str:
    return f"{name} is not set" if value is None else _shown(f"{name}={value}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
