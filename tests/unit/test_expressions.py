"""Templates are split first and filled in once: a value is one element, or part of one, whatever is in it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.model.expressions import MAX_WORDS, TemplateError, parse_template, render, split_words
from pipeline_queue.model.pipeline import Reference, Template, Value
from tests import hostile

X = Reference(scope="parameters", name="x")
HOSTILE = [*hostile.HOSTILE, "$${{", "}}"]
any_text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE)


def fill(template: Template, **values: Value) -> str:
    return render(template, values, run_id="r-1", run_index=3, sweep_id="s-1")


def offsets(text: str, declared: tuple[str, ...] | None = None) -> list[int]:
    with pytest.raises(TemplateError) as caught:
        split_words(text, declared)
    return [problem.offset for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "${{ parameters.x }}",
        "${{parameters.x}}",
        "${{  parameters . x  }}",
        "${{ parameters['x'] }}",
        '${{ parameters["x"] }}',
        "${{ parameters[ 'x' ] }}",
        "${{\nparameters.x\n}}",
        "'${{ parameters.x }}'",
        '"${{ parameters["x"] }}"',
        "'${{ parameters['x'] }}'",
        "''${{ parameters.x }}\"\"",
    ],
)
def test_every_spelling_of_a_reference_is_one_word(text: str) -> None:
    assert split_words(text) == ((X,),)


def test_run_and_sweep_have_their_references() -> None:
    (word,) = split_words("${{ run.id }}/${{ run.index }}/${{ sweep.id }}")
    assert fill(word) == "r-1/3/s-1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\n\tc\r\n", ["a", "b", "c"]),
        ("", []),
        (" \n ", []),
        ("''", [""]),
        ("a '' b", ["a", "", "b"]),
        ("'a b'c\" d\"", ["a bc d"]),
        (r"'a\b'", [r"a\b"]),
        (r'"a\b\"\\\$\`"', [r'a\b"\$`']),
        (r"a\ b\'\"\\", ["a b'\"\\"]),
        ("a\\\nb", ["ab"]),
        ("a \\\n b", ["a", "b"]),
        ('"a\\\nb"', ["ab"]),
        (
            "$HOME ~ * ? [a] {b,c} # x;y | > < & (z)",
            ["$HOME", "~", "*", "?", "[a]", "{b,c}", "#", "x;y", "|", ">", "<", "&", "(z)"],
        ),
        ("a\u00a0b\u2003c", ["a\u00a0b\u2003c"]),
        ("$${{ x }}", ["${{", "x", "}}"]),
        ("'$${{ x }}'", ["${{ x }}"]),
        ("$ $$ ${a} $$$x }} {{", ["$", "$$", "${a}", "$$$x", "}}", "{{"]),
        ("-- --x=-1 -", ["--", "--x=-1", "-"]),
    ],
)
def test_words_are_split_as_a_shell_would_quote_them(text: str, words: list[str]) -> None:
    assert ["".join(str(part) for part in word) for word in split_words(text)] == words


@given(st.lists(any_text.filter(lambda text: "${{" not in text and "\r" not in text), max_size=6))
def test_words_quoted_for_a_shell_come_back(words: list[str]) -> None:
    assert [fill(word) for word in split_words(shlex.join(words))] == words


@given(st.text("ab \t\n'\"\\"))
def test_without_expressions_splitting_agrees_with_the_standard_library(text: str) -> None:
    unescaped = text.replace("\\\n", "")  # the standard library knows no line continuation
    try:
        expected = shlex.split(unescaped)
    except ValueError:
        return
    if "\\\n" not in text:
        assert [fill(word) for word in split_words(text)] == expected


@given(any_text, any_text)
def test_a_value_is_always_exactly_one_element_or_part_of_one(x: str, y: str) -> None:
    text = "--x ${{ parameters.x }} --y=${{ parameters['y'] }} '${{ parameters.x }}' \"${{ parameters.y }}!\""
    words = [fill(word, x=x, y=y) for word in split_words(text)]
    assert words == ["--x", x, f"--y={y}", x, f"{y}!"]


@given(st.lists(st.tuples(st.sampled_from("abc"), any_text), max_size=5), any_text)
def test_any_mix_of_literals_and_references_gives_exactly_its_values(parts: list[tuple[str, str]], value: str) -> None:
    text = " ".join(
        f"${{{{ parameters.{name} }}}}{shlex.quote(literal.replace('${{', '$${{'))}" for name, literal in parts
    )
    values: dict[str, Value] = {"a": value, "b": "", "c": "x y"}
    words = [fill(word, **values) for word in split_words(text)]
    assert words == [f"{values[name]}{literal}" for name, literal in parts]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_template_of_a_whole_text_is_never_split(value: str) -> None:
    assert fill(parse_template("a 'b' \\ ${{ parameters.x }} $HOME"), x=value) == f"a 'b' \\ {value} $HOME"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "0.001"), (10.0, "10.0"), (-0.0, "0.0"), (True, "true"), (7, "7"), ("1.10", "1.10")],
)
def test_a_value_is_rendered_as_its_canonical_text(value: Value, text: str) -> None:
    assert fill((X,), x=value) == text


def test_an_empty_text_is_an_empty_element() -> None:
    assert fill(parse_template("")) == ""


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("$${{", "${{"),
        ("$${{ parameters.x }}", "${{ parameters.x }}"),
        ("$$${{", "$${{"),
        ("$${{ ${{ parameters.x }}", "${{ v"),
        ("$ ${{ parameters.x }}$", "$ v$"),
    ],
)
def test_two_dollar_signs_stand_for_a_literal_opening(text: str, rendered: str) -> None:
    assert fill(parse_template(text), x="v") == rendered


def test_a_dollar_sign_goes_before_a_value_when_it_is_quoted() -> None:
    assert [fill(word, x="v") for word in split_words(r"'$'${{ parameters.x }} \$${{ parameters.x }}")] == [
        "$v",
        "$v",
    ]


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("ab ${{ parameters.x", 3),
        ("${{ a ${{ parameters.x }}", 0),
        ("a ${{ }}", 2),
        ("a ${{ x }}", 2),
        ("a ${{ parameters.x + 1 }}", 2),
        ("a ${{ parameters.x.y }}", 2),
        ("a ${{ parameters['x }}", 2),
        ("a ${{ parameters[x] }}", 2),
        ("a ${{ parameters[''] }}", 2),
        ("a ${{ env.HOME }}", 2),
        ("a ${{ run.name }}", 2),
        ("a ${{ run['id'] }}", 2),
        ("a ${{ f(x) }}", 2),
        ("a ${{ {} }}", 2),
        ("a 'b", 2),
        ('a "b', 2),
        ("a b\\", 3),
        (r"a \${{ parameters.x }}", 2),
    ],
)
def test_anything_else_is_refused_at_its_offset(text: str, offset: int) -> None:
    assert offsets(text) == [offset]


def test_all_wrong_expressions_are_reported_at_once() -> None:
    assert offsets("${{ a }} ${{ parameters.x }} ${{ }} '${{ q }}'") == [0, 29, 37]


def test_an_undeclared_parameter_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template("--lr ${{ parameters.lerning_rate }}", {"learning_rate"})
    (problem,) = caught.value.problems
    assert problem.offset == 5
    assert problem.hint.startswith("did you mean 'learning_rate'?")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("${{ learning_rate }}", "did you mean parameters.learning_rate?"),
        ("${{ params.learning_rate }}", "did you mean parameters.learning_rate?"),
        ("${{ parameter.learning_rate }}", "did you mean parameters.learning_rate?"),
        ("${{ runs.id }}", "did you mean run.id?"),
    ],
)
def test_a_near_miss_says_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text, {"learning_rate"})
    assert caught.value.problems[0].hint.startswith(meant)


def test_too_many_words_are_refused() -> None:
    assert len(split_words("a " * MAX_WORDS)) == MAX_WORDS
    assert offsets("a " * (MAX_WORDS + 1)) == [2 * MAX_WORDS]


@pytest.mark.parametrize("piece", ["${{", "${{ x }}", "$", "''", "\\", '"', "}}", "$${{", "${{ '"])
def test_long_texts_take_linear_time(piece: str) -> None:
    """A quadratic walk over these would take minutes and run into the test's time limit."""
    for text in (piece * 100_000, piece * 100_000 + "}}"):
        for parse in (split_words, parse_template):
            try:
                parse(text)
            except TemplateError as error:
                assert len(error.problems) <= 100


@given(st.lists(st.sampled_from(["${{", "}}", "$", " ", "'", '"', "\\", "parameters.x", "a", "\n", "{{"]), max_size=25))
def test_any_text_is_words_or_refused_with_offsets_inside_it(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        split_words(text)
    except TemplateError as error:
        assert all(0 <= problem.offset < len(text) for problem in error.problems)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("${{ env.PATH }}", "did you mean worker.env.PATH?"),
        ("${{ env.x }}", "did you mean parameters.x?"),
        ("${{ params.X }}", "did you mean parameters.x?"),
        ("${{ inputs.other }}", "(use ${{ parameters.NAME }}"),
    ],
)
def test_a_suggestion_names_what_there_is(text: str, meant: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text, {"x"})
    (problem,) = caught.value.problems
    assert meant in f"({problem.hint})"
