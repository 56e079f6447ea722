"""YAML text becomes located nodes within a budget; every refusal names its place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_queue.loading.document import MAX_FILE_BYTES, Document, parse_document, read_document
from pipeline_queue.loading.nodes import Mapping, Node, Scalar, Sequence
from pipeline_queue.loading.syntax import MAX_ALIASES, MAX_DEPTH


def parse(text: str | bytes) -> Document:
    return parse_document("f.yaml", text.encode() if isinstance(text, str) else text)


def plain(node: Node | None) -> object:
    """The node as lists, dicts and texts."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Mapping)
    return {key.text: plain(value) for key, value in node.entries}


def refusals(text: str | bytes) -> list[str]:
    return [str(problem) for problem in parse(text).problems]


@pytest.mark.parametrize(
    "text",
    [
        "1e-3",
        "on",
        "no",
        "1.10",
        "0777",
        "1_000",
        "1:30",
        "2024-01-01",
        "0",
        "0.0",
        "false",
        "-x",
        "$HOME",
        "a=b;c",
    ],
)
def test_a_scalar_keeps_its_source_text(text: str) -> None:
    assert plain(parse(f"a: {text}\n").root) == {"a": text}


def test_nodes_know_their_line_and_column() -> None:
    root = parse("# é😀\na: é\nb:\n  - 'x'\n  - {c: 1}\n").root
    assert isinstance(root, Mapping)
    items = root.get("b")
    assert isinstance(items, Sequence)
    assert (root.line, root.column) == (2, 1)
    assert [(item.line, item.column) for item in items.items] == [(4, 5), (5, 5)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_counts_as_one_line(end: str) -> None:
    assert refusals(f"a: 1{end}a: 2{end}")[0].startswith("f.yaml:2:1:")


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    root = parse(b"\xef\xbb\xbfa: 1").root
    assert plain(root) == {"a": "1"}
    assert root is not None and root.column == 1


def test_text_that_is_not_utf8_is_refused_with_its_line_and_column() -> None:
    assert refusals(b"a: 1\nb: \xff\n") == ["f.yaml:2:4: the file is not valid UTF-8 here (save the file as UTF-8)"]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# only a comment\n", "f.yaml:1:1: the file is empty"),
        ("a: \x01", "f.yaml:1:4: the control character U+0001"),
        ('a: 1\nb: "\\0"', "f.yaml:2:4: this text contains a NUL"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: duplicate key 'a'; the first is on line 1"),
        ("a: 1\n'a': 3", "f.yaml:2:1: duplicate key 'a'"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: the tag"),
        ("a: !x 1", "f.yaml:1:4: the tag '!x' is not allowed"),
        ("? [a]\n: b", "f.yaml:1:3: a key must be a single word"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: a second document"),
        ("a: *b", "f.yaml:1:4: no anchor 'b'"),
        ("a: &a [*a]", "f.yaml:1:8: the alias 'a' stands inside"),
        ("a: [", "f.yaml:1:5: invalid YAML"),
        ("a:\n\tb: 1", "f.yaml:2:1: invalid YAML"),
        ('a: "\\ud83d"', "f.yaml:1:"),
        ("a: {<<: 1}", "f.yaml:1:5: `<<` takes a mapping"),
        ("[" * (MAX_DEPTH + 1), f"f.yaml:1:{MAX_DEPTH + 1}: the nesting is deeper"),
        ("- " * 500_000, "f.yaml:1:61: the nesting is deeper"),
        ("[" + "[]," * 60_000 + "]", "f.yaml:1:149999: the file has more than 50,000 values"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_place(text: str, start: str) -> None:
    assert refusals(text)[0].startswith(start)


def test_several_problems_are_reported_at_once() -> None:
    assert len(refusals("a: !x 1\na: 2\nb: !y 3\n")) == 3


def test_an_alias_bomb_is_refused() -> None:
    levels = "".join(
        f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
    )
    assert "more than" in refusals(f"a: &a [{','.join('x' * 9)}]\n{levels}")[0]


def test_an_alias_repeats_at_most_what_a_file_may_hold() -> None:
    assert "exceed" in refusals(f"a: &a {'x' * 900_000}\nb: *a\n")[0]


def test_an_alias_does_not_nest_deeper_than_text_may() -> None:
    deep = "[" * 20 + "]" * 20
    assert "deeper" in refusals(f"a: &a {deep}\nb: {'[' * 15}*a{']' * 15}\n")[0]


def test_only_few_aliases_are_allowed() -> None:
    assert "aliases" in refusals("- &a 1\n" + "- *a\n" * (MAX_ALIASES + 1))[0]


def test_aliases_and_merge_keys_work_and_own_keys_win() -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 9, z: 9}\nd: {y: 3, <<: [*b, *o]}\n"
    root = parse(text).root
    assert isinstance(root, Mapping)
    assert plain(root.get("d")) == {"y": "3", "x": "1", "z": "9"}


def test_a_quoted_merge_key_is_a_plain_key() -> None:
    assert plain(parse("{'<<': 1}").root) == {"<<": "1"}


@pytest.mark.parametrize(
    "yaml_value",
    [
        "x ${{ a }} y ${{ b }}",
        "'x ${{ a }} y ${{ b }}'",
        "'it''s ${{ a }} y ${{ b }}'",
        '"\\t ${{ a }} y ${{ b }}"',
        "x ${{ a }}\n    y ${{ b }}",
        "|\n    x ${{ a }}\n    y ${{ b }}\n",
        "> # ${{ no }}\n    x ${{ a }}\n    y ${{ b }}\n",
        "&anchor 'é ${{ a }} y ${{ b }}'",
    ],
)
def test_an_expression_inside_a_scalar_has_its_own_place(yaml_value: str) -> None:
    text = f"pad: 1\nkey: {yaml_value}\n"
    document = parse(text)
    assert isinstance(document.root, Mapping)
    scalar = document.root.get("key")
    assert isinstance(scalar, Scalar)
    place = document.place_in(scalar, scalar.text.index("${{ b"))
    line = text.splitlines()[(place.line or 0) - 1]
    assert line[(place.column or 0) - 1 :].startswith("${{ b")


def test_an_escaped_dollar_sign_falls_back_to_the_start_of_the_scalar() -> None:
    document = parse('key: "a\\tb \\u0024{{ x }} ${{ y }}"')
    assert isinstance(document.root, Mapping)
    scalar = document.root.get("key")
    assert isinstance(scalar, Scalar)
    assert str(document.place_in(scalar, scalar.text.index("${{ y"))) == "f.yaml:1:6"


def test_json_with_tabs_and_its_own_escapes_is_read_byte_exact() -> None:
    text = '{\n\t"a"\t:\t"\\/ \\ud83d\\ude00 \\\\ud83d",\n\t"b": 1e5, "c": true\n}\n'
    assert plain(parse(text).root) == {"a": "/ 😀 \\ud83d", "b": "1e5", "c": "true"}


def test_places_in_json_are_those_of_the_file_although_escapes_are_rewritten() -> None:
    text = '{"x": "\\ud83d\\ude00\u2028", "a": 1, "a": 2}'
    assert refusals(text)[0].startswith(f"f.yaml:1:{text.rindex(chr(34) + 'a') + 1}:")


json_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda text: "\0" not in text)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text("abcdefgh", min_size=1), json_texts),
    st.booleans(),
    st.sampled_from([None, "\t", 2]),
)
def test_every_json_string_is_read_byte_exact(
    values: dict[str, str], ensure_ascii: bool, indent: str | int | None
) -> None:
    text = json.dumps(values, ensure_ascii=ensure_ascii, indent=indent)
    # C0 control characters are always escaped by JSON; all others may stand for themselves.
    document = parse(text)
    assert document.problems == ()
    assert plain(document.root) == values


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_any_text_gives_nodes_or_located_problems(text: str) -> None:
    document = parse(text)
    assert (document.root is None) <= bool(document.problems)
    assert all(problem.place.line and problem.place.column for problem in document.problems)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_nodes_or_located_problems(data: bytes) -> None:
    document = parse(data)
    assert all(problem.place.line and problem.place.column for problem in document.problems)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert "larger than 1,048,576 bytes" in str(read_document(path).problems[0])


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    expected = {
        tmp_path / "missing.yaml": "no such file",
        tmp_path: "this is a folder",
        tmp_path / "pipe": "not a regular file",
        tmp_path / "loop": "cannot be read",
        tmp_path / ("x" * 5000): "cannot be read",
        Path("a\0b"): "cannot be read",
    }
    for path, message in expected.items():
        (problem,) = read_document(path).problems
        assert message in problem.message
        assert problem.place.source == str(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("a: 1")
    path.chmod(0)
    assert "may not be read" in read_document(path).problems[0].message
