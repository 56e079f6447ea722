"""Every scenario at its quick size, on real servers and workers: nothing lost, nothing wrong, nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.products import ROOT
from tests.faults.scenarios import SCENARIOS

pytestmark = pytest.mark.faults

AT_A_TIME = 3
"""Labs wait most of the time: for leases to run out."""
LIMIT_SECONDS = 280.0

NOT_YET: dict[str, str] = {}
"""Scenario -> what the product does not do yet."""

Rows = dict[str, Future[dict[str, Any]]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """All scenarios, several at a time, each by the command that a person would use."""
    folder = tmp_path_factory.mktemp("faults")
    pool = ThreadPoolExecutor(AT_A_TIME)
    try:
        yield {one.name: pool.submit(_run, one.name, folder) for one in SCENARIOS if one.name not in NOT_YET}
    finally:
        pool.shutdown(cancel_futures=True)


def _run(name: str, folder: Path) -> dict[str, Any]:
    file = folder / f"{name.replace(' ', '-')}.json"
    command = [sys.executable, "-m", "tests.faults", "--only", name, "--json", str(file)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        # Asked nicely, it takes namespaces, mounts and processes with it.
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert file.exists(), said
    row: dict[str, Any] = json.loads(file.read_text())[0]
    row["said"] = said
    return row


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_nothing_is_lost_wrong_or_twice_with(name: str, rows: Rows) -> None:
    if name in NOT_YET:
        pytest.xfail(NOT_YET[name])
    row = rows[name].result()
    print(row["said"])
    if row["verdict"] == "skipped":
        pytest.skip(row["reasons"][0])
    # How long it took is told, not asserted: a machine that others use too may be slow.
    assert row["verdict"] != "red", row["said"]
