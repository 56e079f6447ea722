"""A step with `reuse: always` is executed once for all sweeps, `sources` say what it depends on, `explain` says why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, wait_until, write_folder

PIPELINE = """\
pipeline:
  name: study
  parameters:
    - {name: data, type: string, default: small}
    - {name: n, type: int}
  steps:
    - prepare:
        run: prepare.sh
        args: ${{ parameters.data }}
        reuse: always
        sources: [prepare.sh, "raw/*.txt"]
    - train:
        run: train.sh
        args: ${{ parameters.n }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both steps append to a witness outside of all storage; `gate` holds prepare back, `fail` makes it fail."""
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE)
    prepare = (
        f'#!/bin/sh\necho "prepare $1" >> "{tmp_path}/witness"\n'
        f'while [ -e "{tmp_path}/gate" ]; do sleep 0.05; done\n[ ! -e "{tmp_path}/fail" ] || exit 5\n'
        "ls -R > seen; cat raw/*.txt > data\n"
    )
    train = f'#!/bin/sh\necho "train $1" >> "{tmp_path}/witness"\necho "$(cat data) $1" > model\n'
    for name, text in (("prepare.sh", prepare), ("train.sh", train)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    write_folder(folder / "raw")
    (folder / "raw" / "one.txt").write_text("one\n")
    (folder / "raw" / "notes.md").write_text("notes\n")
    (tmp_path / "witness").write_text("")
    return folder


@pytest.fixture
def shell(cluster: Cluster, folder: Path) -> Shell:
    cluster.start_worker()
    return cluster.shell(folder)


def _witnessed(folder: Path) -> Counter[str]:
    return Counter((folder.parent / "witness").read_text().splitlines())


def _run(shell: Shell, n: int, *more: str) -> str:
    return str(shell.json("run", "pipeline.yaml", "-p", f"n={n}", *more, "--json")["run"])


def test_a_step_that_is_always_reused_is_executed_once_for_runs_and_sweeps(
    cluster: Cluster, shell: Shell, folder: Path
) -> None:
    first = _run(shell, 1)
    second = _run(shell, 2)
    sweep = shell.json("sweep", "pipeline.yaml", "-p", "n=range(3,9)", "--json")["sweep"]
    assert _witnessed(folder) == {"prepare small": 1, **{f"train {n}": 1 for n in range(1, 9)}}
    client = cluster.client
    runs = [first, second, f"{sweep}.5"]
    assert len({client.outputs(run)["prepare"].resolve() for run in runs}) == 1
    assert (client.outputs(second)["train"] / "model").read_text() == "one 2\n"
    assert _run(shell, 1, "-p", "data=large")
    assert _witnessed(folder)["prepare large"] == 1


def test_a_step_sees_its_sources_alone_and_another_file_does_not_make_it_run_again(
    cluster: Cluster, shell: Shell, folder: Path
) -> None:
    run = _run(shell, 1)
    seen = (cluster.client.outputs(run)["prepare"] / "seen").read_text().split()
    assert "one.txt" in seen and "prepare.sh" in seen
    assert not {"notes.md", "train.sh", "pipeline.yaml"} & set(seen)
    (folder / "raw" / "notes.md").write_text("other notes\n")
    _run(shell, 2)
    assert _witnessed(folder)["prepare small"] == 1
    (folder / "raw" / "two.txt").write_text("two\n")
    changed = _run(shell, 3)
    assert _witnessed(folder)["prepare small"] == 2
    assert (cluster.client.outputs(changed)["train"] / "model").read_text() == "one\ntwo 3\n"


def test_sweeps_at_the_same_time_share_one_execution_and_a_failure_is_each_sweeps_own(
    cluster: Cluster, shell: Shell, folder: Path
) -> None:
    gate = folder.parent / "gate"
    gate.touch()
    sweeps = [
        shell("sweep", "pipeline.yaml", "-p", f"n=range({start},{start + 5})", "--detach").stdout.strip()
        for start in (0, 10, 20)
    ]
    wait_until(lambda: _witnessed(folder)["prepare small"] == 1, "one run leads")
    # All are begun, though there are but two slots: the others are parked.
    wait_until(
        lambda: sum(cluster.client.sweep(one).waiting.get("prepare", 0) for one in sweeps) == 14,
        "the others are parked",
    )
    (folder.parent / "fail").touch()
    gate.unlink()
    failed = wait_until(
        lambda: [one for one in sweeps if cluster.client.sweep(one).counts["failed"] == 5], "a sweep fails"
    )
    (folder.parent / "fail").unlink()
    assert failed
    for one in sweeps:
        cluster.client.wait_sweep(one, GENEROUS_SECONDS)
    assert _witnessed(folder)["prepare small"] <= 1 + len(sweeps)
    assert shell.json("retry", failed[0], "--json")["counts"]["succeeded"] == 5


def test_a_reused_step_outlives_its_sweep_and_goes_when_nothing_links_to_it(
    cluster: Cluster, shell: Shell, folder: Path
) -> None:
    first, second = _run(shell, 1), _run(shell, 2)
    shell("forget", first, "--yes")
    assert (cluster.client.outputs(second)["prepare"] / "data").read_text() == "one\n"
    reused = cluster.settings.storage / "reused"
    assert "nothing" in shell("forget", "--reused", "--yes", "--older-than", "0s").stdout
    assert len(list(reused.iterdir())) == 1
    shell("forget", second, "--yes")
    assert "nothing" in shell("forget", "--reused", "--yes").stdout, "what is young may be about to be used"
    shell("forget", "--reused", "--yes", "--older-than", "0s")
    assert list(reused.iterdir()) == []
    _run(shell, 3)
    assert _witnessed(folder)["prepare small"] == 2


def test_a_source_that_is_not_there_is_refused_at_its_place(folder: Path, cluster: Cluster) -> None:
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("[prepare.sh", "[prepare.hs"))
    refused = cluster.shell(folder)("run", "pipeline.yaml", "-p", "n=1", exit_code=2)
    assert "pipeline.yaml:11:18" in refused.stderr and "did you mean 'prepare.sh'?" in refused.stderr
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("raw/*.txt", "raw/*.csv"))
    refused = cluster.shell(folder)("run", "pipeline.yaml", "-p", "n=1", exit_code=2)
    assert "raw/*.csv" in refused.stderr and "train" not in refused.stderr
    assert not cluster.settings.storage.exists() or not list((cluster.settings.storage / "sweeps").iterdir())


def test_explain_says_what_was_reused_and_which_component_differed(shell: Shell, folder: Path) -> None:
    first = _run(shell, 1)
    second = _run(shell, 2)
    reused = shell.json("explain", second, "prepare", "--json")
    assert (reused["decision"], reused["executed_by"]) == ("reused", first)
    assert reused["identity"] == shell.json("explain", first, "prepare", "--json")["identity"]

    large = _run(shell, 1, "-p", "data=large")
    told = shell.json("explain", large, "prepare", "--json")
    assert (told["decision"], told["executed_by"]) == ("executed", large)
    differs = told["compared"]["differences"]
    assert [(one["step"], one["component"], one["here"], one["there"]) for one in differs] == [
        ("prepare", "command", "large", "small")
    ]

    (folder / "raw" / "one.txt").write_text("uno\n")
    (folder / "raw" / "two.txt").write_text("dos\n")
    changed = _run(shell, 1)
    differs = shell.json("explain", changed, "prepare", "--json")["compared"]["differences"]
    assert [(one["component"], one["here"], one["there"]) for one in differs] == [
        ("source", "changed: raw/one.txt; added: raw/two.txt", "")
    ]
    text = shell("explain", changed, "prepare").stdout
    assert "raw/one.txt" in text and "executed" in text


def test_explain_says_why_a_step_is_each_runs_own(shell: Shell, folder: Path) -> None:
    sweep = shell.json("sweep", "pipeline.yaml", "-p", "n=1,2", "--json")["sweep"]
    told = shell.json("explain", f"{sweep}.1", "train", "--json")
    assert told["decision"] == "executed"
    assert "every parameter that varies" in told["because"]
    assert told["compared"]["run"] == f"{sweep}.0"
    assert [(one["step"], one["component"]) for one in told["compared"]["differences"]] == [("train", "command")]

    (folder / "pipeline.yaml").write_text(PIPELINE.replace("reuse: always", "reuse: never"))
    run = _run(shell, 1)
    told = shell.json("explain", run, "prepare", "--json")
    assert told["because"] == "step prepare says `reuse: never`"
    wrong = shell("explain", run, "prepair", exit_code=2)
    assert "prepair" in wrong.stderr and "prepare, train" in wrong.stderr
