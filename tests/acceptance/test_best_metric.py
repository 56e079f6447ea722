"""The best metric so far: while a sweep goes on, after the server was emptied, and when the sweep has ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder

PIPELINE = """\
pipeline:
  parameters:
    - {name: n, type: int}
  steps:
    - train: {run: train.sh, args: "${{ parameters.n }}"}
    - report: {run: report.sh}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Run `n` is 0.1234567890123456 + n accurate, and the last two wait while there is a gate."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    (tmp_path / "gate").touch()
    (folder / "train.sh").write_text(
        f'#!/bin/sh\nif [ "$1" -gt 2 ]; then while [ -e "{tmp_path}/gate" ]; do sleep 0.05; done; fi\n'
        'echo "{\\"same\\": 7, \\"accuracy\\": $1.1234567890123456, \\"name with spaces\\": $1}" > metrics.json\n'
    )
    (folder / "report.sh").write_text("#!/bin/sh\necho done\n")
    for name in ("train.sh", "report.sh"):
        (folder / name).chmod(0o755)
    return folder


def test_the_best_metric_so_far_is_told_also_after_redis_was_emptied(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker("--concurrency", "2")
    shell = cluster.shell(folder)
    sweep = shell("sweep", "pipeline.yaml", "-p", "n=2,0,1,3,4", "--detach").stdout.strip()

    def told() -> tuple[int, float | None, str | None]:
        metric = cluster.client.sweep(sweep).metric
        return (metric.runs, metric.best, metric.best_run) if metric else (0, None, None)

    expected = (3, 2.1234567890123456, f"{sweep}.0")
    wait_until(lambda: told() == expected, "three runs have ended")
    assert "best accuracy 2.12346 in run 0 (highest of 3)" in shell("status", sweep).stdout
    cluster.redis().flushall()
    wait_until(lambda: told() == expected, "the same is known again")
    (folder.parent / "gate").unlink()
    assert cluster.client.wait_sweep(sweep, GENEROUS_SECONDS).counts["succeeded"] == 5
    wait_until(lambda: cluster.client.storage_root.joinpath("sweeps", sweep, "end.json").exists(), "its end is written")
    cluster.redis().flushall()
    metric = json.loads(shell("status", sweep, "--json").stdout)["metric"]
    assert metric == {
        "name": "accuracy",
        "direction": "highest",
        "best": 4.1234567890123456,
        "best_run": f"{sweep}.4",
        "lowest": 0.1234567890123456,
        "lowest_run": f"{sweep}.1",
        "highest": 4.1234567890123456,
        "highest_run": f"{sweep}.4",
        "runs": 5,
    }
    assert "best accuracy 4.12346 in run 4 (highest of 5)" in shell("status", sweep).stdout
