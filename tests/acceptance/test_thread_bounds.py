"""By default a step's numeric libraries use its slot's share of the machine: not every core in every slot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster, Shell, new_cluster, plain_environment, write_folder

PIPELINE = """\
pipeline:
  steps:
    - cold: {run: show.py, args: [cold.json]}
    - warm: {run: show.py, args: [warm.json], preload: [fractions]}
    - own: {run: show.py, args: [own.json], env: {OMP_NUM_THREADS: "7"}}
"""
SHOW = """\
import json, os, sys
bounds = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
json.dump({"bounds": bounds, "is_warm": "fractions" in sys.modules}, open(sys.argv[1], "w"))
"""
NAMES = ("MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
SHOWN = tuple(name for name in NAMES if name.endswith("_NUM_THREADS"))


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def _run(shell: Shell, *options: str) -> dict[str, dict[str, Any]]:
    """Step -> what it found, and the `threads` of its record."""
    report = shell.json("run", "pipeline.yaml", "--json", *options)
    found = {}
    for step in report["steps"]:
        folder = shell.folder / step["outputs"]
        shown = json.loads((folder / f"{step['name']}.json").read_text())
        (record,) = [path for path in (folder / "step.json", folder.parent / "step.json") if path.is_file()]
        found[step["name"]] = {**shown, "threads": json.loads(record.read_text()).get("threads")}
    return found


def test_cold_and_warm_steps_get_the_share_of_their_slot_and_own_variables_win(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, show_py=SHOW)
    cluster.start_worker("--concurrency", str(len(os.sched_getaffinity(0))))
    found = _run(cluster.shell(folder))
    one = dict.fromkeys(SHOWN, "1")
    assert found["cold"] == {"bounds": one, "is_warm": False, "threads": 1}
    assert found["warm"] == {"bounds": one, "is_warm": True, "threads": 1}
    # The other libraries read OMP_NUM_THREADS where they have no variable of their own.
    assert found["own"] == {"bounds": {"OMP_NUM_THREADS": "7"}, "is_warm": False, "threads": None}


def test_a_variable_of_the_worker_wins(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, show_py=SHOW)
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    cluster.start_worker("--concurrency", "64")
    bounds = _run(cluster.shell(folder))["cold"]["bounds"]
    assert bounds == {**dict.fromkeys(SHOWN, "1"), "MKL_NUM_THREADS": "5"}


@pytest.mark.parametrize(("threads", "expected"), [(0, {}), (3, dict.fromkeys(SHOWN, "3"))])
def test_a_setting_overrides_the_share(tmp_path: Path, threads: int, expected: dict[str, str]) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, show_py=SHOW)
    with new_cluster(tmp_path, threads_per_slot=threads) as cluster:
        cluster.start_worker()
        found = _run(cluster.shell(folder))
    assert found["warm"] == {"bounds": expected, "is_warm": True, "threads": threads or None}


def test_the_option_reaches_the_embedded_worker(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, show_py=SHOW)
    found = _run(Shell(folder, plain_environment()), "--threads-per-slot", "4")
    assert found["cold"]["bounds"] == dict.fromkeys(SHOWN, "4")
