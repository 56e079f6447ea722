"""Points come from CSV and JSONL files by the declared types, or every problem with its line."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_queue.loading.sweep import points_file
from pipeline_queue.model.pipeline import Value
from pipeline_queue.model.problems import MAX_PROBLEMS
from tests.unit.sweep_files import built, refusals, rows

HOSTILE = ["a b", "'", '"', "$HOME", ";", "a\nb", "\\", "a=b", "0", "0.0", "false", "-x", "a,b", "é😀", "\r\n"]


def csv_rows(folder: Path, data: str | bytes) -> list[tuple[Value, ...]]:
    (folder / "points.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    return rows(folder, "{csv: points.csv}")


def csv_refusals(folder: Path, data: str | bytes) -> list[str]:
    (folder / "points.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    return refusals(folder, "{csv: points.csv}")


def jsonl_rows(folder: Path, data: str) -> list[tuple[Value, ...]]:
    (folder / "points.jsonl").write_text(data)
    return rows(folder, points=folder / "points.jsonl")


def jsonl_refusals(folder: Path, data: str) -> list[str]:
    (folder / "points.jsonl").write_text(data)
    return refusals(folder, points=folder / "points.jsonl")


def test_a_csv_file_gives_its_points_in_order(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, "lr,epochs\n1e-3,5\n0.1,7\n") == [(0.001, 5), (0.1, 7)]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbflr,epochs\n1,2\n3,4\n",
        b"lr,epochs\r\n1,2\r\n3,4",
        b" lr , epochs \n\n1,2\n\n\n 3, 4\n",
        b'"lr","epochs"\n"1",2\n3,"4"\n',
    ],
)
def test_spellings_of_csv_that_spreadsheets_write_are_read(tmp_path: Path, data: bytes) -> None:
    assert csv_rows(tmp_path, data) == [(1.0, 2), (3.0, 4)]


def test_an_empty_cell_is_the_default(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, "lr,epochs\n1,\n,7\n") == [(1.0, 10), (0.5, 7)]
    parameters = "    x: {type: int}\n    y: {type: int}\n"
    told = refusals(tmp_path, "", parameters, points=_written(tmp_path / "p.csv", "x,y\n1,2\n3,\n"))
    assert told == ["p.csv:3:1: parameter y: no value here, and no default (give it one at every point)"]


def test_rows_and_columns_that_spreadsheets_leave_empty_are_left_out(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, "lr,epochs,,\n0.1,5,,\n0.2,6\n,,,\n , \n\n") == [(0.1, 5), (0.2, 6)]
    (note,) = built(tmp_path, "{csv: points.csv}").notes
    assert note.endswith("points.csv: 2 rows of empty cells left out")
    assert "has 3 cells" in csv_refusals(tmp_path, "lr,epochs\n0.1,5\n0.1,5,7\n")[0]


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_points_that_come_twice_are_left_out_and_told(tmp_path: Path) -> None:
    _written(tmp_path / "p.csv", "lr,epochs\n1e-3,5\n0.001,05\n".replace("05", "5") + "1,5\n1,5\n")
    one = built(tmp_path, "{csv: p.csv}")
    assert len(one.space) == 2
    assert one.notes == (f"{tmp_path}/p.csv: 2 duplicate points were left out",)


def test_hostile_texts_survive_csv_and_jsonl(tmp_path: Path) -> None:
    with (tmp_path / "p.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["note", "lr"], *([text, "1"] for text in HOSTILE)])
    assert [member[0] for member in rows(tmp_path, "{csv: p.csv}")] == HOSTILE
    assert jsonl_rows(tmp_path, "".join(json.dumps({"note": text}) + "\n" for text in HOSTILE)) == [
        (text,) for text in HOSTILE
    ]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, unique=True))
def test_any_text_survives_jsonl(tmp_path: Path, texts: list[str]) -> None:
    assert jsonl_rows(tmp_path, "\n".join(json.dumps({"note": text}) for text in texts)) == [(text,) for text in texts]


def test_jsonl_is_read_by_the_declared_types(tmp_path: Path) -> None:
    data = (
        '{"lr": 1e-3, "fast": true, "note": 1.10}\n\n  \n{"lr": "0.5", "note": null}\n{"fast": "yes", "note": "true"}\n'
    )
    assert jsonl_rows(tmp_path, data) == [(0.001, "1.10", True), (0.5, "", False), (0.5, "true", True)]


def test_every_problem_of_a_csv_file_is_told_at_its_line(tmp_path: Path) -> None:
    data = 'lr,optimizer,note\n1,sgd,a\nx,sgd,a\n1,adm,"b\nc"\n11,sgd,a\n1,sgd\n1,sgd,a,b\n'
    assert [problem.partition(" (")[0] for problem in csv_refusals(tmp_path, data)] == [
        "points.csv:3:1: parameter lr: 'x' is not a number",
        "points.csv:4:1: parameter optimizer: 'adm' is not one of the choices",
        "points.csv:6:1: parameter lr: 11.0 is above the maximum",
        "points.csv:7:1: the row has 2 cells, but the first row has 3",
        "points.csv:8:1: the row has 4 cells, but the first row has 3",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "points.csv: no points here"),
        (b"lr,epochs\n", "points.csv: no points here"),
        (b"lrr\n1\n", "points.csv:1:1: unknown parameter 'lrr' (did you mean 'lr'?"),
        (b"lr,lr\n1,2\n", "points.csv:1:1: duplicate column 'lr'"),
        (b"lr,epochs\n1,2\n\xff,3\n", "points.csv:3:1: the file is not valid UTF-8 here"),
        (b'lr,note\n1,"a\n', "points.csv:2:1: invalid CSV: unexpected end of data"),
        (b'lr,note\n1,"a"b\n', "points.csv:2:1: invalid CSV"),
        (b"note\n" + b"x" * 200_000, "points.csv:2:1: invalid CSV: field larger than"),
        (b"note\na\0b\n", "points.csv:2:1: parameter note: a string cannot hold a NUL"),
    ],
)
def test_a_file_that_is_no_csv_of_points_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    assert csv_refusals(tmp_path, data)[0].startswith(problem)


def test_columns_that_are_not_separated_by_commas_are_recognized(tmp_path: Path) -> None:
    assert "not separated by commas" in csv_refusals(tmp_path, "lr;epochs\n1;2\n")[1]


def test_every_problem_of_a_jsonl_file_is_told_at_its_line(tmp_path: Path) -> None:
    data = (
        '{"lr": 1}\n{"lr": 1\n[1]\n7\n{"lr": 1, "lr": 2}\n{"lr": [1]}\n{"lr": {}}\n{"q": 1}\n{"q": 2}\n'
        '{"lr": NaN}\n{"note": "\\ud800"}\n{"epochs": 1.0}\n' + "[" * 100_000
    )
    assert [problem.partition(" (")[0] for problem in jsonl_refusals(tmp_path, data)] == [
        "points.jsonl:2:9: invalid JSON: Expecting ',' delimiter",
        "points.jsonl:3:1: this is not a JSON object",
        "points.jsonl:4:1: this is not a JSON object",
        "points.jsonl:5:1: duplicate key 'lr'",
        "points.jsonl:6:1: 'lr' must be a single value, not a list",
        "points.jsonl:7:1: 'lr' must be a single value, not an object",
        "points.jsonl:8:1: unknown parameter 'q'",
        "points.jsonl:10:1: parameter lr: 'NaN' is not a number",
        "points.jsonl:11:1: parameter note: '\\ud800' is not valid Unicode text",
        "points.jsonl:12:1: parameter epochs: '1.0' is not a whole number",
        "points.jsonl:13:1: invalid JSON: nested too deeply",
    ]


def test_at_most_a_hundred_problems_are_worded(tmp_path: Path) -> None:
    assert len(csv_refusals(tmp_path, "lr\n" + "x\n" * 100_000)) == MAX_PROBLEMS
    assert len(jsonl_refusals(tmp_path, "{\n" * 100_000)) == MAX_PROBLEMS


def test_limits_of_size_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_file, "MAX_POINTS", 2)
    assert csv_refusals(tmp_path, "lr\n1\n2\n3\n")[0].startswith("points.csv:4:1: the file has more than 2 points")
    monkeypatch.setattr(points_file, "MAX_BYTES", 10)
    assert csv_refusals(tmp_path, "lr\n1\n2\n3456789\n")[0].startswith("points.csv:4:1: the file is larger than 10")


def test_what_is_no_file_of_points_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "pipe.csv"):
        assert "is not a regular file" in refusals(tmp_path, f"{{csv: {name}}}")[0]
    assert "No such file" in refusals(tmp_path, points=tmp_path / "missing.csv")[0]
    assert "is neither CSV nor JSONL" in refusals(tmp_path, points=_written(tmp_path / "p.txt", "lr\n1\n"))[0]


def test_a_path_in_the_pipeline_file_is_relative_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    _written(tmp_path / "data" / "p.csv", "lr\n1\n2\n")
    monkeypatch.chdir("/")
    assert rows(tmp_path, "{csv: data/p.csv}") == [(1.0,), (2.0,)]


def test_points_of_a_file_are_a_factor_like_any_other(tmp_path: Path) -> None:
    _written(tmp_path / "p.csv", "lr,note\n1,a\n2,b\n")
    sweep = "{csv: p.csv, grid: {epochs: [3, 4]}, exclude: [{note: a, epochs: 4}]}"
    assert rows(tmp_path, sweep) == [(1.0, 3, "a"), (2.0, 3, "b"), (2.0, 4, "b")]


def test_a_hundred_thousand_rows_are_read(tmp_path: Path) -> None:
    lines = "".join(f"{number / 100_000},{number % 100 + 1},n{number}\n" for number in range(100_000))
    _written(tmp_path / "p.csv", f"lr,epochs,note\n{lines}")
    space = built(tmp_path, "{csv: p.csv}").space
    assert len(space) == 100_000
    assert (space[99_999]["lr"], space[99_999]["note"]) == (0.99999, "n99999")


def test_objects_without_a_value_are_left_out_as_empty_rows_are(tmp_path: Path) -> None:
    (tmp_path / "points.jsonl").write_text('{"lr": 1}\n{}\n{"lr": null, "epochs": null}\n{"lr": null, "epochs": 7}\n')
    assert rows(tmp_path, "{jsonl: points.jsonl}") == [(1.0, 10), (0.5, 7)]
    (note,) = built(tmp_path, "{jsonl: points.jsonl}").notes
    assert note.endswith("points.jsonl: 2 objects without a value left out")


def test_a_space_around_a_text_is_kept_and_told(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("lr, note\n0.1, a\n0.2,b\n 0.3 , c\n")
    parameters = "    lr: {type: float}\n    note: {type: string}\n"
    one = built(tmp_path, "{csv: points.csv}", parameters)
    assert [one.space[index]["note"] for index in range(len(one.space))] == [" a", "b", " c"]
    (note,) = one.notes
    assert note.endswith("points.csv:2:1: the value of 'note' begins or ends with a space, which is kept")
