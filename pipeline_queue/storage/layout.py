"""Names every file and folder of a storage on a file system; does no file operations.

    <root>/pipeline_queue.json                     what this folder is, and its version
    <root>/snapshots/<digest>.tar                  the pipeline's folder at the time of submission
    <root>/sweeps/<sweep>/sweep.json               the commit point of a submission
    <root>/sweeps/<sweep>/<pipeline file>          a copy for people to read
    <root>/sweeps/<sweep>/end.json                 how a sweep of several runs ended
    <root>/sweeps/<sweep>/cancel.requested         a user cancelled the sweep
    <root>/sweeps/<sweep>/pause.requested          a user paused the sweep: no more of its runs start
    <root>/sweeps/<sweep>/retry.json               which runs of the ended sweep are retried, if not all possible ones
    <root>/sweeps/<sweep>/runs/<run>/run.json      how the run ended
    <root>/sweeps/<sweep>/runs/<run>/run.json.<n>  how it ended before its n-th retry
    <root>/sweeps/<sweep>/runs/<run>/cancel.requested   a user cancelled the run
    <root>/sweeps/<sweep>/runs/<run>/<step>/       published: step.json, outputs/ if it wrote any file,
                                                   log if it printed anything
    <root>/sweeps/<sweep>/shared/<step>-<identity>/     the same, for a step that several runs link to
    <root>/reused/<step>-<identity>/               the same, for a step that runs of all sweeps may link to
    <root>/sweeps/<sweep>/runs/<run>/<step>.attempt-<n>-<uid>/   in progress, or failed and perhaps with kept/;
                                                   with `.lost`: its worker lost the lease before the attempt ended
    <root>/kept/<day>/<name>                       links to attempts with kept/, by the day they were kept
    <root>/pipelines/<name>.json                   a published pipeline: runs of it start without its folder
    <root>/actions/<month>.jsonl                   a line for each action of the dashboard: who, when, what

`<run>` is the index and the parameters that differ from their defaults, such as `0-learning_rate=0.01`, so that
people find outputs by browsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

MARKER = "pipeline_queue.json"
VERSION = 1
_LABEL_BYTES = 120
MAX_IN_A_FOLDER = 1000
_ATTEMPT = re.compile(r"(?P<step>[^.]+)\.attempt-(?P<number>[1-9][0-9]{0,8})-[0-9a-f]+(\.lost)?", re.ASCII)

LOST = ".lost"
THOUSAND = re.compile(r"[0-9]{6,}-[0-9]{6,}", re.ASCII)
RUN_FOLDER = re.compile(r"(?P<index>0|[1-9][0-9]{0,8})(-.*)?", re.ASCII | re.DOTALL)

SWEEPS = "sweeps"
SNAPSHOTS = "snapshots"
SWEEP = "sweep.json"
RUNS = "runs"
SHARED = "shared"
REUSED = "reused"
RUN_END = "run.json"
SWEEP_END = "end.json"
RETRY = "retry.json"
PAUSED = "pause.requested"
CANCELLED = "cancel.requested"
"""Has a dot, like every name here that is not a step's: step names contain no dots."""
STEP_RECORD = "step.json"
OUTPUTS = "outputs"
KEPT = "kept"
KEPT_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
"""The name of a folder in `kept/`."""
LOG = "log"
ACTIONS = "actions"
PIPELINES = "pipelines"


def run_folder(index: int, label: Mapping[str, str]) -> str:
    """`0-learning_rate=0.01,optimizer=adam`: the index identifies the run, the rest is for people.

    `label` maps the name of each parameter worth showing to its canonical text.
    """
    text = ",".join(f"{name}={value}" for name, value in label.items())
    safe = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text, flags=re.ASCII)[:_LABEL_BYTES]
    return f"{index}-{safe}" if safe else str(index)


def attempt_number(step: str, name: str) -> int | None:
    """The number in the name of one of the step's attempts, None for any other name."""
    found = _ATTEMPT.fullmatch(name)
    return int(found["number"]) if found and found["step"] == step else None


def last_end(names: Iterable[str]) -> int:
    numbers = (name.removeprefix(f"{RUN_END}.") for name in names if name.startswith(f"{RUN_END}."))
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def copy_name(source: str) -> str:
    """The name of the pipeline file's copy beside `sweep.json`: its own name, unless the layout uses that name."""
    name = Path(source).name or "pipeline.yaml"
    return f"pipeline-{name}" if name in (SWEEP, RUNS) else name


def latest_attempt(step: str, names: Iterable[str]) -> str | None:
    """The name of the unpublished attempt with the highest number."""
    attempts = [(number, name) for name in names if (number := attempt_number(step, name)) is not None]
    return max(attempts)[1] if attempts else None
