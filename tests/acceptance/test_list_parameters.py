"""A list for argparse's nargs, through the real command line, a real sweep and real steps."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Shell, write_folder

TRAIN = """\
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("--layers", type=int, nargs="+")
parser.add_argument("--tags", nargs="*", default=["none"])
asked = parser.parse_args()
json.dump({"units": sum(asked.layers), "tags": len(asked.tags)}, open("metrics.json", "w"))
print(asked.tags)
"""

PIPELINE = """\
pipeline:
  parameters:
    - {name: layers, type: list of int, min: 1, default: [64, 32]}
    - {name: tags, type: list of string, default: []}
  steps:
    - train:
        run: train.py
        args: [--layers, "${{ parameters.layers }}", {if: parameters.tags, then: "--tags ${{ parameters.tags }}"}]
"""


def test_a_script_receives_each_value_of_a_list_as_a_word_of_its_own(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, train_py=TRAIN))
    shell("run", "pipeline.yaml", "-p", 'tags=["a b", "$HOME", ""]')
    report = shell.json("status", "last", "--json")
    assert report["metrics"] == {"units": 96, "tags": 3}
    assert report["parameters"] == {"layers": "[64,32]", "tags": '["a b","$HOME",""]'}
    assert "['a b', '$HOME', '']" in shell("logs", "last").stdout


def test_a_sweep_varies_a_list_and_shows_it_as_one_value(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, train_py=TRAIN))
    shell("sweep", "pipeline.yaml", "-p", "layers=[1,2],[3, 4],[5]")
    found = shell("results", "last", "--where", "layers in ('[3,4]', '[5]')", "--csv").stdout
    rows = [line for line in found.splitlines() if "[" in line]
    assert len(rows) == 2 and '"[3,4]"' in rows[0] and "[5]" in rows[1]
    said = shell("sweep", "pipeline.yaml", "-p", "layers=1,2", exit_code=2).stderr
    assert "'1' is not a list (give a JSON list such as [64, 32])" in said
