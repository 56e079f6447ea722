"""The seed's process table, status tracker, key moments and quiz, run for real with the embedded default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import Shell


def _model(report: dict[str, Any]) -> dict[str, Any]:
    model: dict[str, Any] = json.loads((Path(report["steps"][0]["outputs"]) / "model.json").read_text())
    return model


def _rows(shell: Shell, *runs: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = shell.json("trace", *runs, "--json")["rows"]
    return rows


def test_the_nine_rows_of_the_process_table_happen(shell: Shell) -> None:
    assert shell.json("validate", "pipeline.yaml", "--json")["ok"]
    first = shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.01", "--json")
    second = shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.1", "--json")

    # Rows 2 to 5, and 6 to 9: the value is set, the script receives it, trains with it, the outputs reflect it.
    for report, value in ((first, 0.01), (second, 0.1)):
        assert report["state"] == "succeeded"
        assert report["parameters"] == {"learning_rate": value}
        assert _model(report) == {"argv": ["--lr", str(value)], "weight": 10 * value}
    assert first["run"] != second["run"]

    rows = _rows(shell, first["run"], second["run"])
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert [row["action"] for row in rows] == [
        "Pipeline defined",
        "Pipeline triggered",
        "Step train_model starts",
        "Step train_model executes",
        "Pipeline completes",
        "Pipeline triggered again",
        "Step train_model starts",
        "Step train_model executes",
        "Pipeline completes",
    ]
    assert {row["parameter"] for row in rows} == {"learning_rate"}
    assert [row["value_passed"] for row in rows] == ["float type, no value yet", *["0.01"] * 4, *["0.1"] * 4]
    assert rows[0]["effect"] == "Pipeline ready to accept parameter"
    assert rows[2]["effect"] == "train_model receives --lr 0.01"
    assert rows[6]["effect"] == "train_model receives --lr 0.1"
    # First quiz: what is passed at step 7? Second: where does the pipeline first complete using the value?
    assert rows[6]["value_passed"] == "0.1"
    assert next(row["step"] for row in rows if row["action"] == "Pipeline completes") == 5

    # Both stand side by side, and a new command sees them.
    listed = shell.json("status", "--json")["runs"]
    assert {run["run"] for run in listed} == {first["run"], second["run"]}
    assert shell.json("status", first["run"], "--json") == first


def test_the_status_tracker_shows_the_variable_after_each_run(shell: Shell) -> None:
    first = shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.01", "--json")["run"]
    second = shell.json("run", "pipeline.yaml", "-p", "learning_rate=0.1", "--json")["run"]
    tracker = shell.json("compare", first, second, "--json")
    assert tracker["variables"] == [{"variable": "learning_rate", "start": None, "after": [0.01, 0.1], "final": 0.1}]
    assert tracker["metrics"] == [{"metric": "loss", "values": [0.99, 0.9]}]
    assert [row["output"] for row in tracker["outputs"]] == ["train_model/metrics.json", "train_model/model.json"]
    shown = shell("compare", first, second).stdout
    assert "undefined" in shown and "0.01" in shown


def test_a_missing_value_fails_before_anything_starts(shell: Shell) -> None:
    done = shell("run", "pipeline.yaml", exit_code=2)
    assert "pipeline.yaml:3:" in done.stderr and "learning_rate" in done.stderr
    assert done.stdout == ""
    assert not (shell.folder / "pipeline-queue-data").exists()


def test_changing_the_second_run_changes_steps_7_and_8_and_nothing_of_the_first(shell: Shell) -> None:
    first, second, changed = (
        shell.json("run", "pipeline.yaml", "-p", f"learning_rate={value}", "--json")["run"]
        for value in ("0.01", "0.1", "0.05")
    )
    before, after = _rows(shell, first, second), _rows(shell, first, changed)
    assert before[:5] == after[:5]
    assert after[6]["effect"] == "train_model receives --lr 0.05"
    assert [after[7]["action"], after[7]["value_passed"]] == ["Step train_model executes", "0.05"]
    model = _model(shell.json("status", changed, "--json"))
    assert model == {"argv": ["--lr", "0.05"], "weight": 0.5}
