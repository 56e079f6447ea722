"""Loads a pipeline file with a `sweep:` and builds its space, for the tests of sweeps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract.errors import PipelineFileError, ValuesError
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline
from pipeline_queue.loading.sweep import BuiltSpace, SweepRequest, build_space
from pipeline_queue.model.pipeline import Value

PARAMETERS = """\
    lr: {type: float, min: 0, max: 10, default: 0.5}
    epochs: {type: int, min: 1, default: 10}
    optimizer: {type: string, choices: [sgd, adam, rms], default: sgd}
    note: {type: string, default: ''}
    fast: {type: bool, default: false}
"""


def load(folder: Path, sweep: str = "", parameters: str = PARAMETERS) -> LoadedPipeline:
    """`sweep` is the flow mapping behind `sweep:`, on line 9 of a file with the usual parameters."""
    written = f"  sweep: {sweep}\n" if sweep else ""
    path = folder / "demo.yaml"
    names = re.findall(r"^    ([a-z_]+):", parameters, re.MULTILINE)
    args = ", ".join(f"'${{{{ parameters.{name} }}}}'" for name in names)
    text = f"pipeline:\n  parameters:\n{parameters}  steps: {{a: {{run: echo, args: [{args}]}}}}\n{written}"
    path.write_text(text, encoding="utf-8")
    return load_pipeline(path)


def built(folder: Path, sweep: str = "", parameters: str = PARAMETERS, **asked: Any) -> BuiltSpace:
    return build_space(load(folder, sweep, parameters), SweepRequest(**asked))


def rows(folder: Path, sweep: str = "", parameters: str = PARAMETERS, **asked: Any) -> list[tuple[Value, ...]]:
    """The members, each as the values of what varies."""
    space = built(folder, sweep, parameters, **asked).space
    members = [space[index] for index in range(len(space))]
    return [tuple(member[name] for name in space.varied) for member in members]


def refusals(folder: Path, sweep: str = "", parameters: str = PARAMETERS, **asked: Any) -> list[str]:
    """The problems without the folder's name."""
    loaded = load(folder, sweep, parameters)
    with pytest.raises((PipelineFileError, ValuesError)) as caught:
        build_space(loaded, SweepRequest(**asked))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]
