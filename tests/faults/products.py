"""What is put to the test: this project, or the Celery chain that one would write by hand."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.faults.pipeline import step as step_under_test
from tests.faults.pipeline.step import STEPS

ROOT = Path(__file__).resolve().parents[2]
PIPELINE_FILES = Path(step_under_test.__file__).parent
_PRELOAD = "preload: [argparse, decimal, json]"
"""Modules that every Python has."""


class Product(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def warm(self) -> bool:
        """Whether its steps are to be forked from warm processes."""

    def command(self, machine: str, slots: int, at_edges: bool) -> list[str]:
        """The worker's; `at_edges`: of one that ends or stops itself."""

    def environment(self, url: str, storage: Path, scratch: Path) -> Mapping[str, str]:
        """The worker's settings."""

    def submit(self, url: str, storage: Path, folder: Path, runs: int, seconds: str) -> Path:
        """Accepts `runs` runs; where their folders will be."""


@dataclass(frozen=True, slots=True)
class Ours:
    warm: bool = False

    @property
    def name(self) -> str:
        return "warm steps" if self.warm else "pipeline_queue"

    def command(self, machine: str, slots: int, at_edges: bool) -> list[str]:
        if at_edges:
            options = ["--concurrency", str(slots), "--hostname", f"{machine}@lab", "--loglevel", "INFO"]
            return [sys.executable, "-P", "-m", "tests.faults.edge_worker", "worker", *options]
        options = ["--slots", str(slots), "--name", f"{machine}@lab"]
        return [sys.executable, "-P", "-m", "pipeline_queue", "worker", *options]

    def environment(self, url: str, storage: Path, scratch: Path) -> Mapping[str, str]:
        from pipeline_queue.contract.settings import Settings

        return {"PYTHONPATH": str(ROOT), **Settings(url, storage, scratch).environment()}

    def submit(self, url: str, storage: Path, folder: Path, runs: int, seconds: str) -> Path:
        write_project(folder)
        if self.warm:
            make_warm(folder / "pipeline.yaml")
        sweep = submit_sweep(url, storage, folder / "pipeline.yaml", (f"n=range(0,{runs})", f"seconds={seconds}"))
        return storage / "sweeps" / sweep / "runs"


class PlainChain:
    name = "celery chain"
    warm = False

    def command(self, machine: str, slots: int, at_edges: bool) -> list[str]:
        options = ["--concurrency", str(slots), "--hostname", f"{machine}@lab", "--loglevel", "INFO"]
        options += ["--without-mingle", "--without-gossip"]
        return [sys.executable, "-P", "-m", "celery", "-A", "tests.faults.plain_chain", "worker", *options]

    def environment(self, url: str, storage: Path, scratch: Path) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT), "FAULT_LAB_BROKER": url, "FAULT_LAB_STORAGE": str(storage)}

    def submit(self, url: str, storage: Path, folder: Path, runs: int, seconds: str) -> Path:
        from tests.faults.plain_chain import submit

        storage.mkdir(exist_ok=True)
        script = str(shutil.copy(step_under_test.__file__, folder))
        submit(url, [[[sys.executable, script, step, str(run), seconds] for step in STEPS] for run in range(runs)])
        return storage / "runs"


def write_project(folder: Path) -> None:
    """The pipeline's folder as a user would have it."""
    for path in PIPELINE_FILES.iterdir():
        if path.is_file() and path.name != "__init__.py":
            shutil.copy(path, folder)


def make_warm(pipeline: Path) -> None:
    """Has its Python steps forked from warm processes."""
    head, steps, tail = pipeline.read_text().partition("\n  steps:\n")
    pipeline.write_text(f"{head}\n  {_PRELOAD}{steps}{tail}")


def submit_sweep(url: str, storage: Path, pipeline: Path, texts: tuple[str, ...]) -> str:
    """The id of the sweep."""
    from pipeline_queue.client import Client
    from pipeline_queue.contract.settings import Settings
    from pipeline_queue.loading.sweep import SweepRequest, build_space
    from pipeline_queue.submitting.submission import prepare_sweep

    with Client(storage, Settings(url, storage, storage)) as client:
        loaded = client.load(pipeline)
        built = build_space(loaded, SweepRequest(texts=texts, unused="allow"))
        return client.submit_sweep(prepare_sweep(loaded, built, "", None))
