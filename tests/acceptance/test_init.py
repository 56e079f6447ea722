"""`init` on scripts as people write them: what it writes is valid, runs, and gives the script what it was given."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster, Shell, new_cluster, write_folder

SCRIPTS = Path(__file__).parent / "init_scripts"

# The script, the values given with -p, and what the script must have received.
CASES: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    (
        "imagenet_main.py",
        {"lr": "0.5", "arch": "vgg16", "data": "-my data-"},
        {"lr": 0.5, "arch": "vgg16", "data": "-my data-", "world_size": -1, "resume": "", "evaluate": False, "seed": None},
    ),
    ("mnist.py", {"gamma": "1e-3", "dry_run": "true"}, {"gamma": 0.001, "save_model": False, "dry_run": True, "lr": 1.0}),
    (
        "run_glue_no_trainer.py",
        {"model_name_or_path": "bert base", "lr_scheduler_type": "cosine", "output_dir": "-a b"},
        {"model_name_or_path": "bert base", "learning_rate": 5e-05, "lr_scheduler_type": "cosine", "output_dir": "-a b"},
    ),
    (
        "basic_train.py",
        {"lr": "-1e-3"},
        {"lr": -0.001, "data_dir": "data/train", "batch": 64, "name": "run: 1 # first", "min_delta": -0.5},
    ),
    ("groups.py", {"lr": "0.1", "width": "3"}, {"lr": 0.1, "momentum": 0.95, "width": 3, "gpu": None, "cpu": False}),
    ("loops.py", {"alpha": "9"}, {"alpha": 9.0, "beta": 0.2, "gamma": 3.0, "depth": 7, "width": 7, "tag": "none"}),
    (
        "subcommands.py",
        {"dataset": "mnist", "lr": "2"},
        {"command": "train", "dataset": "mnist", "lr": 2.0, "config": "base", "verbose": 0},
    ),
    ("booleans.py", {"nice": "true"}, {"nice": True, "track": True, "buggy": True, "use_amp": False, "shuffle": True}),
    ("booleans.py", {"track": "false", "buggy": ""}, {"nice": False, "track": False, "buggy": False, "fast": True}),
    ("booleans.py", {"fast": "off", "shuffle": "no", "use_amp": "yes"}, {"fast": False, "shuffle": False, "use_amp": True}),
    (
        "positional_files.py",
        {"source": "-a", "target": "b c", "count": "3"},
        {"source": "-a", "target": "b c", "count": 3, "n": 5, "root": "data/raw"},
    ),
    (
        "options_class.py",
        {"dataroot": "faces", "beta1": "0.9"},
        {"dataroot": "faces", "beta1": 0.9, "input_nc": 3, "n_epochs": 100, "isTrain": True},
    ),
    (
        "click_train.py",
        {"data": "-x", "name": "n", "dropout": "0.25", "shuffle": "false", "verbose": "true"},
        {"data": "-x", "name": "n", "dropout": 0.25, "lr": 0.01, "seed": None, "shuffle": False, "verbose": True},
    ),
    ("typer_train.py", {"data": "d", "network": "conv", "shuffle": "false"}, {"data": "d", "network": "conv", "batch_size": 32, "shuffle": False}),
    ("typer_app.py", {"rate": "0.5"}, {"rate": 0.5, "epochs": 3}),
    ("argv_simple.py", {"lr": "0.1", "epochs": "2", "name": "a b"}, {"lr": 0.1, "epochs": 2, "name": "a b"}),
    ("argv_defaults.py", {"steps": "7"}, {"temperature": 300.0, "steps": 7, "out": "result.txt"}),
    ("argv_main.py", {"infile": "i", "threshold": "0.5"}, {"infile": "i", "threshold": 0.5}),
    ("old_optparse.py", {"rate": "0.75", "mode": "b"}, {"rate": 0.75, "mode": "b", "verbose": True}),
    ("parents.py", {"temperature": "2"}, {"log_level": "INFO", "workdir": "work/dir", "temperature": 2.0, "debug": False}),
    ("uses_module.py", {"rate": "1"}, {"rate": 1.0, "mode": "fast"}),
    ("console_entry.py", {"query": "what?"}, {"k": 5, "query": "what?"}),
    ("no_options.py", {}, {}),
    (
        "lists.py",
        {"files": '["a b.txt", "-c"]', "layers": "[8]", "tags": '["x"]'},
        {"files": ["a b.txt", "-c"], "layers": [8], "betas": [0.9, 0.999], "tags": ["x"], "rate": 0.1},
    ),
    ("lists.py", {"files": '["a"]', "rate": "1"}, {"files": ["a"], "layers": [64, 32], "tags": None, "rate": 1.0}),
    ("latin_one.py", {}, {"name": "Müller"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with new_cluster(tmp_path_factory.mktemp("site")) as cluster:
        cluster.start_worker()
        yield cluster


@pytest.mark.parametrize(("script", "values", "expected"), CASES, ids=[" ".join([case[0], *case[1]]) for case in CASES])
def test_what_init_writes_is_valid_and_gives_the_script_its_values(
    script: str, values: dict[str, str], expected: dict[str, Any], site: Cluster, tmp_path: Path
) -> None:
    assert _received(site, tmp_path, script, values).items() >= expected.items()


def test_a_subcommand_can_be_chosen(site: Cluster, tmp_path: Path) -> None:
    received = _received(site, tmp_path, "subcommands.py", {"split": "test"}, "--subcommand", "evaluate")
    assert received["command"] == "evaluate"
    assert received["split"] == "test"


def test_a_command_of_a_click_group_gets_the_groups_options_too(tmp_path: Path) -> None:
    shutil.copy(SCRIPTS / "click_group.py", tmp_path)
    shell = Shell(tmp_path)
    shell("init", "click_group.py", "--subcommand", "show-all")
    pipeline = shell.json("validate", "pipeline.yaml", "--json")["pipeline"]
    words = ["".join(part if isinstance(part, str) else "…" for part in word) for word in pipeline["steps"][0]["argv"]]
    assert words == ["click_group.py", "--home=…", "show-all", "--limit=…"]


def _received(site: Cluster, folder: Path, script: str, values: dict[str, str], *options: str) -> dict[str, Any]:
    """What the script wrote of its arguments, run from the pipeline file that init wrote."""
    shutil.copytree(SCRIPTS, folder / "project")
    shell = site.shell(folder / "project")
    shell("init", script, *options)
    assert shell.json("validate", "pipeline.yaml", "--json")["ok"]
    given = [word for name, value in values.items() for word in ("-p", f"{name}={value}")]
    report = shell.json("run", "pipeline.yaml", *given, "--json", exit_code=None)
    assert report["state"] == "succeeded", shell("logs", report["run"]).stdout
    received: dict[str, Any] = json.loads((Path(report["steps"][0]["outputs"]) / "received.json").read_text())
    return received


def test_the_script_is_never_run_and_never_imported(tmp_path: Path) -> None:
    text = "import argparse, pathlib\npathlib.Path('ran').touch()\nargparse.ArgumentParser().add_argument('--a', default=1)\n"
    shell = Shell(write_folder(tmp_path, train_py=text, numpy_py="raise SystemExit('imported')"))
    shell("init", "train.py")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "__pycache__").exists()


def test_without_a_script_init_takes_the_only_one(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path, train_py="if __name__ == '__main__':\n    pass\n", helper_py="x = 1\n"))
    assert "train.py" in shell("init").stderr
    assert "run: train.py" in (tmp_path / "pipeline.yaml").read_text()


def test_a_script_that_does_not_look_at_its_name_is_found_too(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path, simulate_py="import sys\nsteps = int(sys.argv[1])\n", helper_py="x = 1\n"))
    shell("init")
    assert "- name: steps" in (tmp_path / "pipeline.yaml").read_text()


def test_of_several_scripts_init_names_all_and_writes_nothing(tmp_path: Path) -> None:
    main = "if __name__ == '__main__':\n    pass\n"
    shell = Shell(write_folder(tmp_path, train_py=main, evaluate_py=main))
    message = shell("init", exit_code=2).stderr
    assert "train.py" in message
    assert "evaluate.py" in message
    assert not (tmp_path / "pipeline.yaml").exists()


def test_in_an_empty_folder_init_writes_an_example_that_runs(site: Cluster, tmp_path: Path) -> None:
    shell = site.shell(tmp_path)
    shell("init")
    report = shell.json("run", "pipeline.yaml", "-p", "name=moon", "-p", "times=2", "--json")
    assert shell("logs", report["run"], "greet").stdout == "hello moon! hello moon! \n"


def test_init_never_overwrites_unless_told_to(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path, pipeline_yaml="mine"))
    assert "--force" in shell("init", exit_code=2).stderr
    assert (tmp_path / "pipeline.yaml").read_text() == "mine"
    shell("init", "-o", "other.yaml")
    shell("init", "--force")
    assert (tmp_path / "pipeline.yaml").read_text() == (tmp_path / "other.yaml").read_text().replace(
        "other.yaml", "pipeline.yaml"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.yaml", "pipeline.yaml"]


def test_a_dash_prints_the_file_and_writes_none(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path, train_py="import sys\nlr = float(sys.argv[1])\n"))
    assert "- name: lr\n" in shell("init", "train.py", "-o", "-").stdout
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        (b"import argparse\nname = '\xff\xfe'\n", "train.py:2:9:", "UTF-8"),
        (b"import argparse\ndef main(:\n", "train.py:2:10:", "not valid Python"),
        (b"print 'hello'\n", "train.py:1:1:", "not valid Python"),
        (b"x = 1\ny = '\0'\n", "train.py:2:6:", "NUL"),
        (b"# -*- coding: nonsense -*-\n", "train.py:1:1:", "encoding"),
        (b"\x89PNG\r\n\x1a\n\0\0", "train.py:1:1:", "UTF-8"),
        (b"import hydra\n\n@hydra.main()\ndef main(cfg): pass\n", "train.py:1:1:", "Hydra"),
        (b"from absl import app, flags\nflags.DEFINE_float('lr', 1, '')\n", "train.py:1:1:", "absl"),
        (b"import json\nimport fire\nfire.Fire()\n", "train.py:2:1:", "Fire"),
        (b"x = " + b"(" * 5000 + b")" * 5000, "train.py", "train.py"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_place(source: bytes, place: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_bytes(source)
    message = Shell(tmp_path)("init", "train.py", exit_code=2).stderr
    assert place in message
    assert words in message
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_a_script_outside_the_folder_of_the_file_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "src", train_py="")
    write_folder(tmp_path / "here")
    shell = Shell(tmp_path / "here")
    assert "-o ../src/pipeline.yaml" in shell("init", "../src/train.py", exit_code=2).stderr
    shell("init", "../src/train.py", "-o", "../src/pipeline.yaml")
    Shell(tmp_path)("validate", "src/pipeline.yaml")
    shell("init", "nowhere.py", exit_code=2)
    Shell(tmp_path)("init", "src", exit_code=2)
    Shell(tmp_path)("init", "src/train.py", "-o", "nowhere/pipeline.yaml", exit_code=2)
