"""The numbers of a `metrics.json` are read where they can be, and what is not read is noted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workers.metrics import MAX_BYTES, read_metrics


@pytest.mark.parametrize(
    ("text", "metrics"),
    [
        ('{"loss": 0.5, "epoch": 3}', {"loss": 0.5, "epoch": 3.0}),
        ('{"a": {"b": {"c": 1}}, "d": 2}', {"a.b.c": 1.0, "d": 2.0}),
        ('{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e999, "e": 1}', {"e": 1.0}),
        ('{"a": true, "b": null, "c": "1", "d": [1, 2], "e": 0}', {"e": 0.0}),
        ('{"": 1, "b": {"": 2}}', {"b.": 2.0}),
        (r'{"\ud800": 1, "a": {"\udfff": 2}, "ok": 3}', {"ok": 3.0}),
        ('{"' + "x" * 1000 + '": 1, "ok": 2}', {"ok": 2.0}),
        ('{"a": 1' + "0" * 400 + "}", {}),
        ('{"a": ' + "9" * 10_000 + "}", {}),
        ("5", {}), ("[1]", {}), ("null", {}), ("", {}), ("{", {}), ("loss: 1", {}), ("\ufeff{}", {}),
        ("[" * 100_000, {}),
        ('{"a":' * 900 + "1" + "}" * 900, None),
        ('{"a": "' + "x" * 2_000_000 + '", "b": 1}', {"b": 1.0}),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_metrics_are_the_finite_numbers_of_whatever_is_there(
    tmp_path: Path, text: str, metrics: dict[str, float] | None
) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    found, notes = read_metrics(path)
    assert metrics is None or found == metrics
    json.dumps([found, notes], allow_nan=False).encode()
    assert found or notes


def test_metrics_are_capped_in_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({str(number): number for number in range(5000)}))
    found, (note,) = read_metrics(path)
    assert len(found) == 1000 and "4,000 further numbers were not read" in note


def test_metrics_that_are_no_file_are_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes(b'{"\xe4": 1}')
    for name in ("absent", "folder", "latin"):
        found, (note,) = read_metrics(tmp_path / name)
        assert found == {} and note.startswith("metrics.json ")


@pytest.mark.parametrize(
    ("text", "metrics", "note"),
    [
        ('{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.4}\n', {"epoch": 2.0, "loss": 0.4}, "holds 2 lines of JSON"),
        ('{"loss": 0.5}\n{"loss": 0.4}\nepoch 3\n{"lo', {"loss": 0.4}, "2 lines were not read"),
        ('[{"loss": 0.1}]', {"loss": 0.1}, ""),
        ('[{"loss": 0.1}, {"loss": 0.2, "a": 1}]', {"loss": 0.2, "a": 1.0}, "a list of 2 objects: the last value"),
        ("[0.1, 0.2]", {}, "is a list of 2, not an object"),
        ("0.93", {}, "is a number, not an object"),
        ("", {}, "is empty"),
        ("{}", {}, "has no numbers"),
        ("loss=0.3", {}, "is not JSON"),
        ('{"loss": NaN, "best": Infinity, "n": 1}', {"n": 1.0}, "not read: loss (NaN), best (infinite)"),
        ('{"loss": 0.25, "preds": [1, 2], "name": "x", "ok": true, "z": null}', {"loss": 0.25},
         "not read: preds (a list of 2), name (a text), ok (true or false), z (null)"),
        ('{"loss": "0.25"}', {}, "not read: loss (a text)"),
        ('{"loss": NaN}\n{"loss": 0.5}', {"loss": 0.5}, "holds 2 lines"),
        ('{"loss": 0.5, "acc": 1}\n{"loss": NaN, "acc": null}', {"acc": 1.0}, "not read: loss (NaN), acc (null)"),
        ('{"a": "x\u2028y", "b": 1}\n{"b": 2}\n', {"b": 2.0}, "holds 2 lines"),
        ('{"b": 1}\r\n{"b": 2}\r\n', {"b": 2.0}, "holds 2 lines"),
        ('{"loss": 1}{"loss": 2}', {"loss": 2.0}, "holds 2 objects: the last value of each name was read"),
        ('{\n "loss": 1\n}\n{\n "loss": 2\n}\n', {"loss": 2.0}, "holds 2 objects"),
        ('{\n "loss": 1\n}\n{\n "loss": ', {"loss": 1.0}, "holds 1 object: the last value of each name was read; what follows"),
        ('// made by hand\n{"loss": 0.5}', {"loss": 0.5}, "holds 1 line of JSON: the last value of each name was read; 1 line was"),
        ('[{"loss": 1}, 3, null, {"acc": 2}]', {"loss": 1.0, "acc": 2.0}, "a list of 2 objects: the last value of each name was read; 2 other values"),
        ('[{"loss": 1}, 3]', {"loss": 1.0}, "a list with 1 object, which was read; 1 other value was not read"),
        ('{"loss": 1, "loss": 2}', {"loss": 2.0}, "of several values in one object the last was read: loss"),
        ('{"a": {"b": 1}, "a.b": 2}', {"a.b": 2.0}, "of several values in one object the last was read: a.b"),
        ('{"n": 9007199254740993, "m": 9007199254740992}', {"n": 9007199254740992.0, "m": 9007199254740992.0}, "rounded to about 16 digits: n"),
        ('{"n": ' + "9" * 5_000 + ', "a": 1}', {"a": 1.0}, "not read: n (too large)"),
    ],
)  # fmt: skip
def test_every_form_is_read_or_noted(tmp_path: Path, text: str, metrics: dict[str, float], note: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    found, notes = read_metrics(tmp_path / "metrics.json")
    assert found == metrics
    assert note in "\n".join(notes) and bool(notes) == bool(note)


def test_a_large_file_is_read_and_a_huge_one_noted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"loss": 0.25, "preds": [' + ", ".join(["0.123456"] * 600_000) + "]}")
    found, (note,) = read_metrics(path)
    assert found == {"loss": 0.25} and "preds (a list of 600,000)" in note
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    assert read_metrics(path)[0] == {} and "was not read; at most" in read_metrics(path)[1][0]


def test_a_name_that_many_numbers_share_costs_its_length_once(tmp_path: Path) -> None:
    """Joined with each of them it would take 20 GB."""
    inner = ", ".join(f'"{number}": {number}' for number in range(20_000))
    (tmp_path / "metrics.json").write_text('{"ok": 1, "' + "x" * 1_000_000 + '": {' + inner + "}}")
    found, (note,) = read_metrics(tmp_path / "metrics.json")
    assert found == {"ok": 1.0} and "too long" in note


def test_many_names_that_are_not_read_are_counted(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({f"n{number}": None for number in range(5_000)}))
    found, (note,) = read_metrics(tmp_path / "metrics.json")
    assert found == {} and note.endswith("n7 (null) and 4,992 more")


def test_a_large_file_of_lines_is_read_and_a_large_text_noted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"loss": 0.5, "epoch": 12345678}\n' * 300_000)
    assert read_metrics(path)[0] == {"loss": 0.5, "epoch": 12345678.0}
    path.write_text("[" + "{}," * 3_000_000 + "{}]")
    found, (note,) = read_metrics(path)
    assert found == {} and "above 8,388,608 only lines are" in note


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_of_json_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "metrics.json").write_text('{"loss": 1}', encoding=encoding)
    assert read_metrics(tmp_path / "metrics.json") == ({"loss": 1.0}, ())
