"""Exact quantities, prices and money, rounding to ticks and lots, basis points, nanoseconds.

Quantities, prices and money are `Decimal`: `Decimal * float` raises, which keeps model floats out of the books.
Models work in float64; `exact` and `float()` are the two places where a number crosses over.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from math import isfinite

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_DAY = 86_400 * NS_PER_S
BPS = Decimal(10_000)
ZERO = Decimal(0)


def exact(value: float, step: Decimal) -> Decimal:
    """The multiple of `step` nearest to a model's float; raises ValueError for NaN and infinities."""
    if not isfinite(value):
        raise ValueError(f"{value} is not a number that can be traded")
    return nearest(Decimal(repr(float(value))), step)  # numpy's floats have a repr of their own


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def nearest(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` nearest to `value`, ties to even."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether `value` is a whole number of steps."""
    return not value % step


def bps_of(cost: Decimal, base: Decimal) -> Decimal:
    """`cost` in basis points of `base`; zero where the base is zero."""
    return cost / base * BPS if base else ZERO
