"""Text becomes typed values by the declared type, and back to one canonical text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.contract.errors import Place, ValuesError
from pipeline_queue.model.parameters import (
    MAX_ELEMENT_BYTES,
    BadValueError,
    Given,
    argument_of,
    check_bounds,
    from_python,
    given_on_command_line,
    read_value,
    resolve_values,
    text_of,
)
from pipeline_queue.model.pipeline import Parameter, ParameterType, Pipeline, Step, Value
from tests.hostile import HOSTILE

FLOAT = Parameter(name="f", type="float")
INT = Parameter(name="i", type="int")
BOOL = Parameter(name="b", type="bool")
STRING = Parameter(name="s", type="string")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
typed_values = st.one_of(
    st.tuples(st.just(FLOAT), st.floats(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just(INT), st.integers(-(10**100) + 1, 10**100 - 1)),
    st.tuples(st.just(BOOL), st.booleans()),
    st.tuples(st.just(STRING), texts),
)


@given(typed_values)
def test_the_canonical_text_of_a_value_reads_as_that_value(case: tuple[Parameter, Value]) -> None:
    parameter, value = case
    again = read_value(parameter, text_of(value))
    assert again == value
    assert type(again) is type(value)
    assert text_of(again) == text_of(value)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 17))
def test_two_spellings_of_a_number_are_one_point(number: float, digits: int) -> None:
    scientific, plain = f"{number:.{digits}e}", f"{float(f'{number:.{digits}e}'):.400f}"
    try:
        first = read_value(FLOAT, scientific)
    except BadValueError:
        return  # too small, or rounded up beyond the largest float
    if len(plain) < 700 and float(plain) == float(scientific):
        assert text_of(read_value(FLOAT, plain)) == text_of(first)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_string_is_taken_as_it_is(text: str) -> None:
    assert read_value(STRING, text) == text
    assert text_of(text) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1e-3", "0.001"),
        ("0.001", "0.001"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("10", "10.0"),
        ("+1", "1.0"),
        ("-0", "0.0"),
        ("-0.0", "0.0"),
        (" 0.1\n", "0.1"),
        ("1E5", "100000.0"),
        ("0e999", "0.0"),
    ],
)
def test_a_float_has_one_canonical_text(text: str, canonical: str) -> None:
    assert text_of(read_value(FLOAT, text)) == canonical


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(-0.00001, "-0.00001"), (1e-5, "0.00001"), (-1.5e-7, "-0.00000015"), (0.1, "0.1"), (1e16, "10000000000000000.0"),
     (-1e20, "-100000000000000000000.0"), (1e300, "1e+300"), (5e-324, "5e-324"), (3, "3"), (True, "true"), ("1e-05", "1e-05")],
)  # fmt: skip
def test_a_program_receives_a_decimal_number_as_argparse_takes_it(value: Value, wanted: str) -> None:
    assert argument_of(value) == wanted
    if isinstance(value, float):
        assert float(wanted) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1_000.5", "write 1000.5 without underscores"),
        ("0,1", "write 0.1 with a decimal point"),
        ("nan", "NaN and infinities are not allowed"),
        ("-inf", "NaN and infinities are not allowed"),
        ("1e999", "use a number between"),
        ("1e-999", "write 0 if you mean 0"),
        ("٣", "give a decimal number"),
        ("0x10", "give a decimal number"),
        ("1" * 2000, "round it"),
        *((text, "give a decimal number") for text in HOSTILE if text not in ("0", "0.0")),
    ],
)
def test_what_is_no_float_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(BadValueError) as caught:
        read_value(FLOAT, text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1_000", "write 1000 without underscores"),
        ("0777", "write 777 without leading zeros, or 511 if it was octal"),
        ("-08", "write -8 without leading zeros"),
        ("1.0", "write 1"),
        ("1e3", "write 1000"),
        ("1.5", "round it"),
        ("1e999999999", "round it"),
        ("9" * 101, "at most 100 digits"),
        ("٣", "give decimal digits"),
        ("true", "give decimal digits"),
        *((text, "") for text in HOSTILE if text != "0"),
    ],
)
def test_what_is_no_int_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(BadValueError) as caught:
        read_value(INT, text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("-0", 0), ("+7", 7), (" 10 ", 10), ("9" * 100, 10**100 - 1)])
def test_an_int_is_read_from_decimal_digits(text: str, value: int) -> None:
    assert read_value(INT, text) == value


@pytest.mark.parametrize("text", ["true", "YES", "On", "1", " true "])
def test_every_word_for_true_is_true(text: str) -> None:
    assert read_value(BOOL, text) is True


@pytest.mark.parametrize("text", ["false", "No", "OFF", "0"])
def test_every_word_for_false_is_false(text: str) -> None:
    assert read_value(BOOL, text) is False


@pytest.mark.parametrize("text", [text for text in HOSTILE if text not in ("0", "false")] + ["2", "y", "tru"])
def test_what_is_no_bool_is_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        read_value(BOOL, text)


@pytest.mark.parametrize("text", ["a\0b", "\ud83d", "x" * (MAX_ELEMENT_BYTES + 1), "é" * (MAX_ELEMENT_BYTES // 2 + 1)])
def test_a_string_no_program_can_be_given_is_refused(text: str) -> None:
    with pytest.raises(BadValueError) as caught:
        read_value(STRING, text)
    assert len(str(caught.value)) < 400


def test_a_string_of_the_longest_length_is_taken() -> None:
    assert read_value(STRING, "x" * MAX_ELEMENT_BYTES) == "x" * MAX_ELEMENT_BYTES


class Colour(str, Enum):  # noqa: UP042 - the kind that prints as `Colour.RED`
    RED = "red"


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        (FLOAT, 1, 1.0),
        (FLOAT, 0.5, 0.5),
        (FLOAT, "1e-3", 0.001),
        (INT, 5, 5),
        (INT, "5", 5),
        (BOOL, True, True),
        (BOOL, "no", False),
        (STRING, "", ""),
        (STRING, Colour.RED, "red"),
    ],
)
def test_a_python_value_of_the_right_type_or_text_is_taken(
    parameter: Parameter, value: object, expected: Value
) -> None:
    taken = from_python(parameter, value)
    assert taken == expected
    assert type(taken) is type(expected)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (FLOAT, True),
        (FLOAT, math.nan),
        (FLOAT, math.inf),
        (FLOAT, 10**400),
        (INT, True),
        (INT, 1.0),
        (INT, 10**100),
        (BOOL, 1),
        (STRING, 5),
        (STRING, b"x"),
        (STRING, None),
        (FLOAT, None),
        (FLOAT, [1.0]),
    ],
)
def test_any_other_python_value_is_refused(parameter: Parameter, value: object) -> None:
    with pytest.raises(BadValueError):
        from_python(parameter, value)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_value_on_or_between_its_bounds_is_taken(value: float) -> None:
    check_bounds(Parameter(name="f", type="float", min=0, max=1), value)


@pytest.mark.parametrize(("value", "words"), [(-0.1, "below the minimum"), (1.1, "above the maximum")])
def test_a_value_outside_its_bounds_is_refused(value: float, words: str) -> None:
    with pytest.raises(BadValueError, match=words):
        check_bounds(Parameter(name="f", type="float", min=0, max=1), value)


def test_a_value_that_is_not_a_choice_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadValueError) as caught:
        check_bounds(Parameter(name="s", type="string", choices=("sgd", "adam")), "adma")
    assert caught.value.hint == "did you mean 'adam'? choices: sgd, adam"


def pipeline(*parameters: Parameter) -> Pipeline:
    return Pipeline(name="p", parameters=parameters, steps=(Step(name="a", argv=(("x",),)),))


def refusals(declared: Pipeline, given: Mapping[str, Given]) -> list[str]:
    with pytest.raises(ValuesError) as caught:
        resolve_values(declared, given, {"f": Place("p.yaml", 4, 7)})
    return [str(problem) for problem in caught.value.problems]


def test_values_come_back_typed_in_declared_order_with_defaults() -> None:
    declared = pipeline(
        FLOAT, Parameter(name="n", type="int", default=0), Parameter(name="s", type="string", default="")
    )
    given = {name: given_on_command_line(name, text) for name, text in [("s", ""), ("f", "1e-3")]}
    values = resolve_values(declared, given, {})
    assert list(values.items()) == [("f", 0.001), ("n", 0), ("s", "")]


def test_all_problems_with_values_are_reported_at_once_with_their_places() -> None:
    declared = pipeline(FLOAT, INT, Parameter(name="epochs", type="int", min=1, default=1))
    names = "declared parameters: f, i, epochs"
    given = {
        "i": given_on_command_line("i", "abc"),
        "epoch": given_on_command_line("epoch", "3"),
        "epochs": Given("0", Place("v.json", 2, 5)),
    }
    assert refusals(declared, given) == [
        "-p i=abc: parameter i: 'abc' is not a whole number (give decimal digits such as 10 or -3)",
        f"-p epoch=3: unknown parameter 'epoch' (did you mean 'epochs'? {names})",
        "v.json:2:5: parameter epochs: 0 is below the minimum (the minimum is 1)",
        "p.yaml:4:7: the parameter 'f' has no default and was given no value (give one: -p f=…)",
    ]


def test_an_unknown_value_for_a_pipeline_without_parameters_says_so() -> None:
    assert refusals(pipeline(), {"x": given_on_command_line("x", "1")}) == [
        "-p x=1: unknown parameter 'x' (there are no declared parameters)"
    ]


def test_the_nearest_of_many_names_is_found() -> None:
    names = [f"parameter_{number}" for number in range(200)]
    declared = pipeline(*(Parameter(name=name, type="int", default=1) for name in names))
    for wrong, right in [
        ("paramter_137", "parameter_137"),
        ("PARAMETER_42", "parameter_42"),
        ("oarameter_9", "parameter_9"),
    ]:
        (line,) = refusals(declared, {wrong: given_on_command_line(wrong, "1")})
        assert f"did you mean {right!r}?" in line


@pytest.mark.parametrize("parameter_type", ["float", "int", "bool", "string"])
def test_a_long_value_is_shortened_in_messages(parameter_type: ParameterType) -> None:
    declared = pipeline(Parameter(name="f", type=parameter_type, choices=("a",) if parameter_type == "string" else ()))
    text = "z" * 100_000
    assert len(refusals(declared, {"f": given_on_command_line("f", text)})[0]) < 500


def test_a_value_with_control_characters_is_shown_on_one_printable_line() -> None:
    (line,) = refusals(pipeline(FLOAT), {"f": given_on_command_line("f", "a\nb\x1b[31m\udc80")})
    assert line.isprintable()


@pytest.mark.parametrize("text", ["9007199254740993", "-9007199254740993", "1700000000123456789"])
def test_a_whole_number_that_a_float_cannot_hold_is_refused(text: str) -> None:
    for one in (text, int(text)):
        with pytest.raises(BadValueError, match="more digits than a float can hold") as caught:
            from_python(FLOAT, one)
        assert "as an int" in caught.value.hint


@pytest.mark.parametrize("text", ["9007199254740992", "9007199254740993.0", "9007199254740993e0", "0.1000000000000000055", "1e23", "100000000000000000000"])  # fmt: skip
def test_measures_are_rounded_as_floats_are(text: str) -> None:
    assert read_value(FLOAT, text) == float(text)
