"""`--where`: what conditions mean, and where a wrong one is wrong."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.contract.errors import InputError
from pipeline_queue.model.conditions import MAX_CHARACTERS, MAX_NESTING, parse

ROW: dict[str, Any] = {
    "run": "train-7k3m9q2x.3", "index": 3, "state": "succeeded", "seconds": 1.5, "learning_rate": 0.001, "epochs": 10,
    "optimizer": "sgd", "version": "1.10", "nesterov": True, "text": "it's a \"b\" and (c)", "in": 1,
    "val/accuracy": 0.9, "accuracy": 0.95, "missing": None, "huge": 10**30,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate>0.0001", True), ("learning_rate=1e-3", True), ("learning_rate == 0.0010", True),
        ("learning_rate='1e-3'", True), ("learning_rate!=0.001", False), ("epochs=10.0", True), ("epochs<9", False),
        ("epochs<=10", True), ("epochs>=11", False), ("optimizer=sgd", True), ("optimizer!=adam", True),
        ("version=1.10", True), ("version=1.1", False), ("version<2", True), ("nesterov=true", True),
        ("nesterov=no", False), ("nesterov!=false", True), ("nesterov=maybe", False), ("nesterov!=maybe", True),
        ("learning_rate=abc", False), ("learning_rate!=abc", True), ("learning_rate<abc", False),
        ("optimizer in (adam, sgd)", True), ("optimizer not in (adam,sgd)", False), ("epochs in (1,1e1)", True),
        ("optimizer not in (adam)", True), ("state=succeeded", True), ("state in (failed,cancelled)", False),
        ("accuracy>=0.9 and epochs<50", True), ("accuracy>=0.99 or epochs<50 and index=4", False),
        ("(accuracy>=0.9 or epochs<5) and index=3", True), ("not accuracy>0.99", True), ("not not index=3", True),
        ("NOT index=4 AND state=succeeded OR index=9", True), ("text='it''s a \"b\" and (c)'", True),
        ('text="it\'s a ""b"" and (c)"', True), ("'in'=1", True), ("val/accuracy>0.8", True), ("'val/accuracy'>0.8", True),
        ("run=train-7k3m9q2x.3", True), ("seconds>1", True), ("epochs=-10", False), ("epochs>-1e3", True),
        (f"huge={10**30}", True), (f"huge={10**30 + 1}", False), (f"huge<{10**30 + 1}", True),
        ("optimizer=''", False), ("epochs=1_0", False), ("\tindex\n=\r3 ", True),
    ],
)  # fmt: skip
def test_a_condition_holds(text: str, expected: bool) -> None:
    assert parse(text, ROW).holds(ROW) is expected


@pytest.mark.parametrize("comparison", ["=1", "==1", "!=1", "<1", "<=1", ">1", ">=1", " in (1)", " not in (1)", "!=x"])
def test_what_is_missing_satisfies_no_comparison(comparison: str) -> None:
    assert not parse(f"missing{comparison}", ROW).holds(ROW)
    assert not parse(f"missing{comparison}", ROW).holds({})
    assert parse(f"not missing{comparison}", ROW).holds({})


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "expected a name"), ("   ", 4, "expected a name"), ("acuracy>1", 1, "did you mean 'accuracy'"),
        ("index=3 and acuracy>1", 13, "did you mean 'accuracy'"), ("index", 6, "expected a comparison"),
        ("index=", 7, "expected a value"), ("index=3 index=4", 9, "expected 'and'"), ("index=3 && index=4", 9, "write 'and'"),
        ("index=3 || index=4", 9, "write 'or'"), ("!index=3", 1, "write 'not'"), ("index=3)", 8, "expected 'and'"),
        ("(index=3", 9, "expected ')'"), ("index in 3", 10, "expected '('"), ("index in (3", 12, "expected ')'"),
        ("index in ()", 11, "expected a value"), ("0.01<learning_rate", 1, "write the name first"),
        ("optimizer='sgd", 11, "is not closed"), ("optimizer=and", 11, "quote"), ("index not = 3", 11, "expected a comparison"),
        ("state=fail", 7, "did you mean 'failed'"), ("1<index<3", 1, "write the name first"), ("index<3<4", 8, "expected 'and'"),
        ("__import__('os')", 1, "unknown parameter or metric"), ("index=3;drop", 0, ""),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_refused_at_its_column(text: str, column: int, said: str) -> None:
    if not column:
        assert not parse(text, ROW).holds(ROW)
        return
    with pytest.raises(InputError) as refused:
        parse(text, ROW)
    assert f"column {column}: " in str(refused.value) and said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_any_name_will_do_where_none_can_be_known_yet() -> None:
    assert not parse("anything>1", None).holds({})
    with pytest.raises(InputError):
        parse("anything>", None)


def test_nesting_and_length_are_bounded() -> None:
    deep = "(" * MAX_NESTING + "index=3" + ")" * MAX_NESTING
    assert parse(deep, ROW).holds(ROW)
    for text in (f"({deep})", "not " * (MAX_NESTING + 1) + "index=3", "(" * 9_000, "a" * (MAX_CHARACTERS + 1)):
        with pytest.raises(InputError):
            parse(text, ROW)


@pytest.mark.parametrize("text", ["'" * 9_999, "index=" + "9" * 9_000, "index=3 or " * 800 + "index=4", "=" * 9_999])
def test_a_long_condition_takes_no_time(text: str) -> None:
    begun = time.process_time()
    with contextlib.suppress(InputError):
        parse(text, ROW).holds(ROW)
    assert time.process_time() - begun < 5


_VALUES = st.one_of(st.integers(-5, 5), st.sampled_from([0.5, -1.5, 1e-3, 2.0]))
_TEXTS = st.sampled_from(["", "a", "b", "and", "it's", '"', "1", "a b", "(", "\n", "é"])
_SIGNS = {
    "=": lambda one, other: one == other, "==": lambda one, other: one == other, "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other, "<=": lambda one, other: one <= other, ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}  # fmt: skip


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _comparisons() -> st.SearchStrategy[tuple[str, Any]]:
    """Text of a condition, and what it means as a function."""

    def number(name: str, sign: str, value: Any) -> tuple[str, Any]:
        return f"{name}{sign}{value!r}", lambda row: row.get(name) is not None and _SIGNS[sign](row[name], value)

    def text(sign: str, value: str) -> tuple[str, Any]:
        return f"t {sign} {_quoted(value)}", lambda row: row.get("t") is not None and _SIGNS[sign](row["t"], value)

    def one_of(values: list[Any], negated: bool) -> tuple[str, Any]:
        return (
            f"x {'not ' if negated else ''}in ({', '.join(map(repr, values))})",
            lambda row: row.get("x") is not None and (row["x"] in values) != negated,
        )

    signs = st.sampled_from(list(_SIGNS))
    return st.one_of(
        st.builds(number, st.sampled_from(["x", "y"]), signs, _VALUES),
        st.builds(text, signs, _TEXTS),
        st.builds(one_of, st.lists(_VALUES, min_size=1, max_size=3), st.booleans()),
    )


def _joined(children: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.one_of(
        children.map(lambda one: (f"not ({one[0]})", lambda row: not one[1](row))),
        st.tuples(children, children).map(
            lambda both: (f"({both[0][0]}) and ({both[1][0]})", lambda row: both[0][1](row) and both[1][1](row))
        ),
        st.tuples(children, children).map(
            lambda both: (f"({both[0][0]}) or ({both[1][0]})", lambda row: both[0][1](row) or both[1][1](row))
        ),
    )


@given(
    st.recursive(_comparisons(), _joined, max_leaves=12),
    st.fixed_dictionaries({"x": st.none() | _VALUES, "y": st.none() | _VALUES, "t": st.none() | _TEXTS}),
)
def test_a_condition_means_what_its_parts_say(condition: tuple[str, Any], row: dict[str, Any]) -> None:
    text, meaning = condition
    assert parse(text, row).holds(row) is bool(meaning(row))


@given(st.text(alphabet="abx=<>!()'\", 01.andornotin\n\\", max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        parse(text, ["a", "b", "x"]).holds({"a": 1, "b": "x"})
    except InputError as error:
        assert str(error).isprintable()
