"""Keeps what a lab leaves for whoever has to find out why it went red: logs, witness, lives of the workers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.faults.lab import Lab

KEEP = "FAULT_LAB_KEEP"
"""A folder; nothing is kept without it."""


def keep_when_done(lab: Lab) -> list[str]:
    """Says where it will lie."""
    target = os.environ.get(KEEP)
    if not target:
        return []
    folder = Path(target) / lab.name
    lab.before_end(lambda: _keep(lab, folder))
    return [f"kept in {folder}"]


def _keep(lab: Lab, folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in [*lab.folder.glob("*.log"), *lab.folder.glob("*.life"), lab.witness, lab.folder / "server" / "log"]:
        if path.exists():
            shutil.copy(path, folder / (path.name if path.parent == lab.folder else f"server-{path.name}"))
    if (lab.storage / "sweeps").is_dir():
        shutil.copytree(lab.storage / "sweeps", folder / "sweeps", symlinks=True)
