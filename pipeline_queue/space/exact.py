"""Arithmetic that comes out the same on every machine: exact ratios, and powers with their own digits.

A float stands for the decimal number it is written as, so 0 + 3 * 0.1 is 0.3. Nothing here asks the C library
for a logarithm: `decimal` rounds `ln` and `exp` correctly by its specification.
"""

from __future__ import annotations

from decimal import Context, Decimal
from math import lcm

_SIGNIFICANT_DIGITS = 12
_WORKING_DIGITS = 34
_MAX_EXPONENT = 999_999


def ratio(value: int | float) -> tuple[int, int]:
    """Numerator and denominator of the number as it is written in decimal."""
    return (value, 1) if isinstance(value, int) else Decimal(repr(value)).as_integer_ratio()


def over_one_denominator(one: int | float, other: int | float) -> tuple[int, int, int]:
    """Both numbers as numerators over one denominator: (one, other, denominator)."""
    (one_top, one_bottom), (other_top, other_bottom) = ratio(one), ratio(other)
    bottom = lcm(one_bottom, other_bottom)
    return one_top * (bottom // one_bottom), other_top * (bottom // other_bottom), bottom


def rounded(value: float) -> float:
    """The value at 12 significant digits."""
    return float(f"{value:.{_SIGNIFICANT_DIGITS - 1}e}") + 0.0


def within(value: int | float, one: int | float, other: int | float) -> int | float:
    """The value, or the end it went past by rounding."""
    return max(min(one, other), min(max(one, other), value))


def geometric(first: int | float, last: int | float, numerator: int, denominator: int) -> int | float:
    """`first * (last / first) ** (numerator / denominator)`, of the ends' type: whole, or 12 significant digits."""
    context = Context(prec=_WORKING_DIGITS, Emin=-_MAX_EXPONENT, Emax=_MAX_EXPONENT)
    low, high = context.ln(_decimal(first)), context.ln(_decimal(last))
    share = context.divide(Decimal(numerator), Decimal(denominator))
    power = context.exp(context.fma(context.subtract(high, low), share, low))
    if isinstance(first, int):
        return within(int(power.to_integral_value()), first, last)
    digits = Context(prec=_SIGNIFICANT_DIGITS, Emin=-_MAX_EXPONENT, Emax=_MAX_EXPONENT)
    return within(float(digits.plus(power)), first, last)


def _decimal(value: int | float) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))
