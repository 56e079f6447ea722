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
from tests.limits import kill_and_wait

AT_A_TIME = 3
"""Labs wait most of the time: for leases to run out."""
LIMIT_SECONDS = 280.0
END_SECONDS = 60.0
"""A lab that was asked to end takes its namespaces, mounts and processes with it."""

pytestmark = pytest.mark.faults

NOT_YET: dict[str, str] = {}
"""Scenario -> what the product does not do yet."""

Rows = dict[str, Future[dict[str, Any]]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Rows]:
    """The scenarios that are asked for, several at a time, each by the command that a person would use."""
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    }
    folder = tmp_path_factory.mktemp("faults")
    pool = ThreadPoolExecutor(AT_A_TIME)
    try:
        yield {one.name: pool.submit(_run, one.name, folder) for one in SCENARIOS if one.name in asked - set(NOT_YET)}
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
        process.terminate()
        try:
            said, _ = process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            kill_and_wait(process)
            raise
    assert file.exists(), said
    row: dict[str, Any] = json.loads(file.read_text())[0]
    row["said"] = said
    return row


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
def test_nothing_is_lost_wrong_or_twice_with(name: str, rows: Rows) -> None:
    if name in NOT_YET:
        pytest.xfail(NOT_YET[name])
    row = rows[name].result(LIMIT_SECONDS + 2 * END_SECONDS)
    print(row["said"])
    if row["verdict"] == "skipped":
        pytest.skip(row["reasons"][0])
    # How long it took is told, not asserted: a machine that others use too may be slow.
    assert row["verdict"] != "red", row["said"]
