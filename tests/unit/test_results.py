"""A sweep's rows: read from the storage, sorted, chosen, written; and the table."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.cli.results import results
from pipeline_queue.cli.results_table import table_lines
from pipeline_queue.contract.errors import InputError, NotFoundError, StorageError
from pipeline_queue.reporting.formats import to_csv, to_json, to_parquet
from pipeline_queue.reporting.results import (
    Row,
    best,
    check_names,
    find_columns,
    only_columns,
    read_rows,
    sort_rows,
    to_columns,
)
from pipeline_queue.storage.storage import Storage

SWEEP = "train-7k3m9q2x"
HOSTILE = ["", " ", "a,b", 'a"b', "a\nb", "a\r\nb", "$HOME", "\\", "=1+1", "0", "0.0", "false", "</script>", "🦊", "\t"]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage.open(tmp_path)
    (storage.sweep(SWEEP) / "runs").mkdir(parents=True)
    (storage.sweep(SWEEP) / "sweep.json").write_text("{}")
    return storage


def _record(index: int, **more: Any) -> dict[str, Any]:
    return {
        "v": 1, "sweep": SWEEP, "run": f"{SWEEP}.{index}", "index": index, "state": "succeeded",
        "parameters": {"learning_rate": 0.01}, "steps": [{"seconds": 1.5}, {"seconds": None}, {"seconds": 2}],
        "metrics": {"loss": 0.5}, **more,
    }  # fmt: skip


def _put(storage: Storage, folder: str, content: dict[str, Any] | str | bytes) -> None:
    path = storage.sweep(SWEEP) / "runs" / folder / "run.json"
    path.parent.mkdir(parents=True)
    data = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def _row(index: int, metrics: dict[str, float] | None = None, **parameters: Any) -> Row:
    return Row(f"{SWEEP}.{index}", index, "succeeded", parameters, metrics or {}, 1.0)


def _indices(rows: Sequence[Row]) -> list[int]:
    return [row.index for row in rows]


def test_rows_come_by_index_from_both_layouts(storage: Storage) -> None:
    _put(storage, "10-learning_rate=0.1", _record(10))
    _put(storage, "9", _record(9))
    _put(storage, "001000-001999/1000-learning_rate=0.1", _record(1000))
    _put(storage, "000000-000999/2-a\n=b", _record(2))
    assert _indices(read_rows(storage, SWEEP)) == [2, 9, 10, 1000]
    assert read_rows(storage, SWEEP)[0] == Row(
        f"{SWEEP}.2", 2, "succeeded", {"learning_rate": 0.01}, {"loss": 0.5}, 3.5
    )


def test_what_is_no_ended_run_is_left_out(storage: Storage) -> None:
    (storage.sweep(SWEEP) / "runs/1-x").mkdir()
    (storage.sweep(SWEEP) / "runs/2-x").touch()
    for name in (".3", "x-4", "007", "00100-00199/1", "001000-001999/001000-001999/5"):
        _put(storage, name, _record(3))
    assert read_rows(storage, SWEEP) == []


def test_a_sweep_without_runs_is_empty_and_an_unknown_one_is_told(storage: Storage) -> None:
    (storage.sweep(SWEEP) / "runs").rmdir()
    assert read_rows(storage, SWEEP) == []
    for name in ("train-00000000", "../../etc"):
        with pytest.raises(NotFoundError):
            read_rows(storage, name)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"v": 2}', '{"v": 1, "index": "0", "state": "failed"}', b"\xff", "[" * 100_000,
     '{"v": 1, "index": true, "state": "failed"}', '{"v": 1, "index": 0, "state": "failed", "metrics": []}',
     '{"v": 1, "index": 0, "state": "failed", "steps": 3}', '{"v": 1, "index": 0, "state": "\\ud800"}',
     '{"v": 1, "index": 0, "state": "failed", "parameters": {"a": "\\udfff"}}', '{"v": 1, "index": ' + "9" * 9_999 + "}"],
    ids=range(15),
)  # fmt: skip
def test_a_damaged_record_is_passed_over_with_a_note(storage: Storage, content: str | bytes) -> None:
    _put(storage, "0", content)
    _put(storage, "1", _record(1))
    notes: list[str] = []
    assert _indices(read_rows(storage, SWEEP, notes.append)) == [1]
    assert len(notes) == 1 and "skipped " in notes[0] and "run.json, which is damaged" in notes[0]


def test_what_is_not_a_finite_number_is_no_metric_and_never_reaches_json(storage: Storage) -> None:
    _put(storage, "0", '{"v": 1, "index": 0, "state": "failed", "steps": [{"seconds": NaN}], "parameters": {"a": [1]}, '
         '"metrics": {"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e999, "e": "x", "f": null, "g": true, "h": 2}}')  # fmt: skip
    rows = read_rows(storage, SWEEP)
    assert rows == [Row(f"{SWEEP}.0", 0, "failed", {}, {"h": 2}, None)]

    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads(to_json(rows), parse_constant=refuse)


def test_ten_thousand_rows_are_read_and_sorted(storage: Storage) -> None:
    order = list(range(10_000))
    random.Random(7).shuffle(order)
    for index in order:
        folder = f"{index // 1000 * 1000:06}-{index // 1000 * 1000 + 999:06}/{index}-a={index % 7}"
        metrics = {} if index % 100 == 0 else {"accuracy": (index * 7919 % 10_007) / 10_007}
        _put(storage, folder, _record(index, parameters={"a": index % 7}, metrics=metrics))
    rows = read_rows(storage, SWEEP)
    assert _indices(rows) == list(range(10_000))
    ordered = sort_rows(rows, ["-accuracy"])
    assert ordered[0] == max(rows, key=lambda row: row.metrics.get("accuracy", -1)) == best(rows, "accuracy", True)
    assert _indices(ordered[-100:]) == list(range(0, 10_000, 100))
    assert len(table_lines(ordered, ordered, None, ["-accuracy"], None)) == 10_001


def test_flat_names_are_never_shared() -> None:
    row = Row(
        "r",
        1,
        "failed",
        {"state": "on", "epochs": 3},
        {"epochs": 2.0, "run": 1.0, "metrics.run": 5.0, "loss": 1.0},
        2.5,
    )
    assert row.as_dict() == {
        "run": "r", "index": 1, "state": "failed", "seconds": 2.5, "parameters.state": "on", "epochs": 3,
        "metrics.epochs": 2.0, "metrics.run": 1.0, "metrics.metrics.run": 5.0, "loss": 1.0,
    }  # fmt: skip
    assert set(find_columns([row]).every) == row.as_dict().keys()


def test_missing_values_come_last_in_both_directions() -> None:
    rows = [_row(0), _row(1, {"loss": 0.5}), _row(2), _row(3, {"loss": 0.1})]
    assert _indices(sort_rows(rows, ["loss"])) == [3, 1, 0, 2]
    assert _indices(sort_rows(rows, ["-loss"])) == [1, 3, 0, 2]
    assert best(rows, "loss", largest=False) is rows[3]
    assert best(rows, "nothing", largest=True) is None and best([], "loss", largest=True) is None


def test_sorting_keeps_the_order_of_equals_and_takes_several_keys() -> None:
    rows = [_row(0, a=1, b="x"), _row(1, a=2, b="y"), _row(2, a=1, b="y"), _row(3, a=2, b="y"), _row(4, a=1, b="x")]
    assert _indices(sort_rows(rows, ["-a"])) == [1, 3, 0, 2, 4]
    assert _indices(sort_rows(rows, ["a", "-b"])) == [2, 0, 4, 1, 3]
    assert _indices(sort_rows(rows, [])) == [0, 1, 2, 3, 4]


@given(
    st.lists(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3), max_size=12),
    st.booleans(),
)
def test_values_of_any_types_are_sorted_numbers_first(values: list[Any], largest: bool) -> None:
    rows = [_row(index, **({} if value is None else {"a": value})) for index, value in enumerate(values)]
    found = [row.parameters.get("a") for row in sort_rows(rows, ["-a" if largest else "a"])]
    kinds = [2 if value is None else isinstance(value, str) != largest for value in found]
    assert kinds == sorted(kinds) and len(found) == len(values)
    for kind in (str, (int, float)):
        same = [value for value in found if isinstance(value, kind)]
        assert same == sorted(same, reverse=largest)


def test_columns_begin_with_what_changed() -> None:
    rows = [_row(0, {"loss": 1.0}, a=1, b="x", c=True), _row(1, {"accuracy": 1.0}, a=1, b="y", c=True)]
    columns = find_columns(rows)
    assert (columns.changed, columns.constant, columns.metrics) == (("b",), ("a", "c"), ("loss", "accuracy"))
    assert list(to_columns(rows)) == ["run", "index", "state", "b", "loss", "accuracy", "seconds", "a", "c"]
    assert to_columns(rows, ["b", "loss"]) == {"b": ["x", "y"], "loss": [1.0, None]}
    assert only_columns(rows, ["b", "loss"])[0] == _row(0, {"loss": 1.0}, b="x")
    assert only_columns(rows, ["b", "loss"])[1] == _row(1, {}, b="y")
    with pytest.raises(InputError, match="did you mean 'loss'"):
        check_names(["los"], columns.every, "--columns")


def test_no_rows_have_no_values() -> None:
    assert to_columns([]) == {"run": [], "index": [], "state": [], "seconds": []}
    assert to_csv([]) == "run,index,state,seconds\r\n"
    assert json.loads(to_json([])) == {"rows": []}


def test_csv_keeps_hostile_values() -> None:
    rows = [_row(index, {"loss": math.pi}, text=value, flag=True, lr=1e-5) for index, value in enumerate(HOSTILE)]
    read = list(csv.DictReader(io.StringIO(to_csv(rows), newline="")))
    assert [one["text"] for one in read] == HOSTILE
    assert (read[0]["flag"], read[0]["lr"], float(read[0]["loss"])) == ("true", "1e-05", math.pi)
    assert to_csv([_row(0, a='x"y'), _row(1)], ["index", "a"]) == 'index,a\r\n0,"x""y"\r\n1,\r\n'


def test_json_is_as_documented() -> None:
    rows = [_row(index, {"loss": 0.5}, text=value) for index, value in enumerate(HOSTILE)]
    read = json.loads(to_json(rows))["rows"]
    assert read[0] == {
        "run": f"{SWEEP}.0", "index": 0, "state": "succeeded", "parameters": {"text": ""}, "metrics": {"loss": 0.5},
        "seconds": 1.0,
    }  # fmt: skip
    assert [one["parameters"]["text"] for one in read] == HOSTILE


def test_parquet_holds_every_kind_of_column() -> None:
    rows = [_row(0, {"loss": 1}, a=1, b="x", c=10**40), _row(1, {"loss": 0.5}, a="y", b="z", c=1), _row(2, a=True)]
    try:
        import pyarrow.parquet  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        with pytest.raises(InputError, match="pip install"):
            to_parquet(rows)
        return
    table = pyarrow.parquet.read_table(io.BytesIO(to_parquet(rows))).to_pydict()
    assert (table["index"], table["loss"], table["b"]) == ([0, 1, 2], [1.0, 0.5, None], ["x", "z", None])
    assert (table["a"], table["c"]) == (["1", "y", "true"], [str(10**40), "1", None])


def test_the_table_marks_the_best_and_says_what_is_the_same() -> None:
    rows = [_row(4, {"loss": 0.123456789}, lr=0.1, text="same one"), _row(1, {"loss": 1e-9}, lr=1e-5, text="same one")]
    assert table_lines(rows, rows, None, ["loss"], None)[:3] == [
        "      index  state         lr      loss  seconds",
        "best      4  succeeded    0.1  0.123457     1.00",
        "          1  succeeded  1e-05     1e-09     1.00",
    ]
    assert "best" not in table_lines(rows, rows, None, ["lr"], None)[1]
    assert "same in all runs: text='same one'" in "\n".join(table_lines(rows, rows, None, [], None))


def test_the_table_fits_the_terminal_and_keeps_what_it_is_sorted_by() -> None:
    rows = [_row(0, {"loss": 1.0}, **{f"parameter_{n}": "狐" * 30 for n in range(9)}), _row(1)]
    text = "\n".join(table_lines(rows, rows, None, ["loss"], 80))
    assert "loss" in text.splitlines()[0] and "parameter_8" not in text.splitlines()[0]
    assert "hidden: parameter_" in text


def test_what_the_table_leaves_out_takes_one_line_each() -> None:
    same = {f"constant_{n}": n for n in range(30)}
    rows = [_row(n, {f"metric_{k}": n / (k + 1) for k in range(40)}, lr=n, **same) for n in range(2)]
    for width in (40, 80, 120):
        *_, same_line, hidden_line = map(click.unstyle, table_lines(rows, rows, None, [], width))
        assert same_line.startswith("same in all runs: ") and same_line.endswith(" more")
        assert hidden_line.startswith("hidden: ") and " more (see --columns, --csv, --html)" in hidden_line
        assert max(len(same_line), len(hidden_line)) <= max(width, 60)
    assert "constant_29=29" in table_lines(rows, rows, None, [], None)[-1]


@pytest.mark.parametrize("width", [80, 120])
def test_of_many_columns_the_metric_has_one_and_what_is_the_same_has_none(width: int) -> None:
    numbers = {f"parameter_number_{n}": float(n) for n in range(11)}
    rows = [
        _row(n, {"steps_taken": 7.0, **{f"metric_number_{k}": n / 7 for k in range(22)}, "accuracy": n / 9},
             **{name: value + n for name, value in numbers.items()}, text="long " * 60 + str(n))
        for n in range(3)
    ]  # fmt: skip
    lines = list(map(click.unstyle, table_lines(rows, rows, None, [], width)))
    head = lines[0].split()
    assert {"index", "state", "accuracy"} <= set(head) and "steps_taken" not in head
    assert "same in all runs: steps_taken=7" in lines
    assert all(len(line) <= width for line in lines)
    assert "more (see --columns, --csv, --html)" in lines[-1]
    chosen = list(map(click.unstyle, table_lines(rows, rows, ["index", "text", "steps_taken"], [], width)))
    assert chosen[0].split() == ["index", "text", "steps_taken"] and len(chosen[1]) < width
    assert "…" in chosen[1]
    assert "…" not in table_lines([rows[0]], [rows[0]], ["parameter_number_10"], [], width)[1]


def test_rows_are_read_in_order_and_whole_whatever_their_number(storage: Storage) -> None:
    for index in range(1300):
        _put(storage, f"{index // 1000 * 1000:06d}-{index // 1000 * 1000 + 999:06d}/{index}", _record(index))
    damaged = storage.sweep(SWEEP) / "runs" / "001000-001999" / "1234" / "run.json"
    damaged.write_text("{")
    (damaged.parent.parent / "1250" / "run.json").unlink()
    noted: list[str] = []
    assert _indices(read_rows(storage, SWEEP, noted.append)) == [n for n in range(1300) if n not in (1234, 1250)]
    assert [str(damaged) in note for note in noted] == [True]


def test_an_end_that_cannot_be_read_is_an_error_of_the_storage(storage: Storage) -> None:
    _put(storage, "0", _record(0))
    (storage.sweep(SWEEP) / "runs" / "1" / "run.json").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be read: Is a directory"):
        read_rows(storage, SWEEP)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_never_breaks_a_line_of_the_table(value: str) -> None:
    rows = [_row(0, a=value, b=1), _row(1, a="x", b=1)]
    assert len([line for line in table_lines(rows, rows, None, [], None) if "succeeded" in line]) == 2


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Calls `results last` on a sweep of three runs; what it printed."""
    for name in list(os.environ):
        if name.startswith("PIPELINE_QUEUE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    storage = Storage.open(tmp_path / "pipeline-queue-data/storage")
    (storage.sweep(SWEEP) / "runs").mkdir(parents=True)
    (storage.sweep(SWEEP) / "sweep.json").write_text("{}")
    for index, loss in enumerate([0.3, 0.1, None]):
        metrics = {} if loss is None else {"loss": loss}
        _put(storage, str(index), _record(index, metrics=metrics, parameters={"lr": index / 10, "optimizer": "sgd"}))

    def call(*arguments: str) -> str:
        outcome = CliRunner().invoke(results, ["last", *arguments])
        if outcome.exception:
            raise outcome.exception
        # As bytes, since `output` has the line ends of CSV replaced.
        return (outcome.stdout_bytes + outcome.stderr_bytes).decode()

    return call


def test_the_command_sorts_filters_and_prints(command: Callable[..., str]) -> None:
    assert [one["index"] for one in json.loads(command("--json", "--sort", "loss"))["rows"]] == [1, 0, 2]
    assert command("--csv", "--where", "loss<0.2", "--columns", "index,loss") == "index,loss\r\n1,0.1\r\n"
    assert command("--csv", "--columns", "index", "--sort=-loss", "--limit", "2") == "index\r\n0\r\n1\r\n"
    assert command("--csv", "--columns", "index", "--where", "lr>0", "--where", "not loss>0") == "index\r\n2\r\n"
    assert "none of the 3 ended runs matches" in command("--where", "loss>5")
    assert "same in all runs: optimizer=sgd" in command("--limit", "1")


@pytest.mark.parametrize(
    "arguments",
    [("--sort", "los"), ("--where", "los>1"), ("--columns", "los"), ("--csv", "--json"), ("--html", "no/such/folder.html")],
)  # fmt: skip
def test_the_command_refuses_what_it_cannot_do(command: Callable[..., str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        command(*arguments)


def test_the_page_replaces_a_file_whole(command: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "results.html"
    path.write_text("old")
    assert command("--html", str(path)) == f"wrote 3 runs to {path}\n"
    assert path.read_text().startswith("<!doctype html>") and SWEEP in path.read_text()
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
