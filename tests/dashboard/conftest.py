"""A sweep with successes and failures that real workers executed, and a Flower that shows it, once for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, running_browser
from tests.conftest import Cluster, new_cluster, write_folder
from tests.dashboard.flower_site import Site, running_flower

PIPELINE = """\
pipeline:
  name: train
  parameters:
    - {name: lr, type: float, min: 0, max: 10, help: step size}
    - {name: optimizer, type: string, choices: [sgd, adam, lion]}
    - {name: note, type: string, default: "<b>bold</b><script>alert(1)</script>"}
  steps:
    - prepare: {run: [python, -c, "print('prepared')"]}
    - train:
        run: train.py
        args: --lr ${{ parameters.lr }} --optimizer ${{ parameters.optimizer }} --note ${{ parameters.note }}
"""
SCRIPT = """\
import argparse, json, sys
parser = argparse.ArgumentParser()
for name in ("--lr", "--optimizer", "--note"):
    parser.add_argument(name)
options = parser.parse_args()
print("\\x1b[32mlearning\\x1b[0m with", options.lr)
for at in range(3):
    print(f"\\r{at}/3", end="")
print()
lr = float(options.lr)
if lr >= 5:
    sys.exit(f"loss diverged at lr={lr}")
accuracy = 0.9 - abs(lr - 0.5) / 10 + (0.05 if options.optimizer == "adam" else 0)
with open("metrics.json", "w") as file:
    json.dump({"accuracy": accuracy, "loss": 1 - accuracy}, file)
with open("table.csv", "w") as file:
    file.write('epoch,loss\\n1,"0,5"\\n')
"""


@pytest.fixture(scope="session")
def shown_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str]]:
    """A cluster with a worker, and the id of the sweep that it executed: 12 runs, 3 of them failed."""
    folder = tmp_path_factory.mktemp("dashboard")
    project = write_folder(folder / "project", pipeline_yaml=PIPELINE, train_py=SCRIPT)
    with new_cluster(folder) as cluster:
        cluster.start_worker()
        values = ("-p", "lr=0.1,0.5,1,5", "-p", "optimizer=sgd,adam,lion")
        cluster.shell(project)("sweep", "pipeline.yaml", *values, "--name", "first sweep", exit_code=1)
        yield cluster, next(iter(cluster.client.overview())).sweep


@pytest.fixture(scope="session")
def site(shown_cluster: tuple[Cluster, str]) -> Iterator[Site]:
    with running_flower(shown_cluster[0]) as made:
        yield made


@pytest.fixture(scope="session")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def project(shown_cluster: tuple[Cluster, str]) -> Path:
    return shown_cluster[0].settings.storage.parent / "project"
