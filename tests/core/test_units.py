"""Steps, exact crossings from floats, money: the laws of rounding."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.units import ZERO, bps_of, ceil_to, exact, floor_to, is_multiple, nearest

VALUES = st.decimals(-(10**9), 10**9, places=6, allow_nan=False)
STEPS = st.sampled_from([Decimal(x) for x in ("0.000001", "0.01", "0.05", "0.25", "1", "3", "100")])


@given(VALUES, STEPS)
def test_floor_is_the_largest_multiple_that_is_not_above(value: Decimal, step: Decimal) -> None:
    low = floor_to(value, step)
    assert is_multiple(low, step)
    assert low <= value < low + step


@given(VALUES, STEPS)
def test_ceil_mirrors_floor(value: Decimal, step: Decimal) -> None:
    assert ceil_to(value, step) == -floor_to(-value, step)


@given(VALUES, STEPS)
def test_nearest_is_at_most_half_a_step_away(value: Decimal, step: Decimal) -> None:
    near = nearest(value, step)
    assert is_multiple(near, step)
    assert 2 * abs(value - near) <= step


@given(VALUES, STEPS)
def test_a_multiple_rounds_to_itself(value: Decimal, step: Decimal) -> None:
    whole = floor_to(value, step)
    assert whole == floor_to(whole, step) == ceil_to(whole, step) == nearest(whole, step)


@pytest.mark.parametrize(
    "value,step,floor,near,ceil",
    [
        ("10.005", "0.01", "10.00", "10.00", "10.01"),
        ("10.015", "0.01", "10.01", "10.02", "10.02"),
        ("-0.5", "1", "-1", "0", "0"),
        ("-1.5", "1", "-2", "-2", "-1"),
        ("250", "100", "200", "200", "300"),
        ("350", "100", "300", "400", "400"),
        ("0.07", "0.05", "0.05", "0.05", "0.10"),
    ],
)
def test_ties_go_to_even_and_signs_keep_their_direction(
    value: str, step: str, floor: str, near: str, ceil: str
) -> None:
    x, s = Decimal(value), Decimal(step)
    assert (floor_to(x, s), nearest(x, s), ceil_to(x, s)) == (Decimal(floor), Decimal(near), Decimal(ceil))


@given(st.floats(-1e9, 1e9), STEPS)
def test_exact_gives_a_multiple_within_half_a_step_of_the_float(value: float, step: Decimal) -> None:
    near = exact(value, step)
    assert is_multiple(near, step)
    assert abs(near - Decimal(repr(value))) <= step / 2


def test_exact_reads_the_float_as_it_is_written() -> None:
    assert exact(0.1 + 0.2, Decimal("0.01")) == Decimal("0.30")
    assert exact(2.675, Decimal("0.01")) == Decimal("2.68")  # in binary it lies below the tie


def test_exact_takes_the_floats_of_models_as_they_come() -> None:
    assert exact(np.float64(1.255), Decimal("0.01")) == Decimal("1.26")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), np.float64("nan"), np.float64("-inf")])
def test_exact_refuses_what_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="not a number that can be traded"):
        exact(value, Decimal("0.01"))


def test_is_multiple_does_not_round() -> None:
    assert is_multiple(Decimal("10.10"), Decimal("0.05"))
    assert not is_multiple(Decimal("10.1000001"), Decimal("0.05"))
    assert is_multiple(Decimal(-7), Decimal("3.5"))
    assert is_multiple(ZERO, Decimal("0.01"))


def test_decimals_keep_floats_out() -> None:
    with pytest.raises(TypeError):
        _ = Decimal(1) * 0.5  # type: ignore[operator]


@pytest.mark.parametrize("cost,base,bps", [("1", "10000", "1"), ("-5", "1000", "-50"), ("7", "0", "0")])
def test_basis_points_are_ten_thousandths_and_zero_of_nothing(cost: str, base: str, bps: str) -> None:
    assert bps_of(Decimal(cost), Decimal(base)) == Decimal(bps)
