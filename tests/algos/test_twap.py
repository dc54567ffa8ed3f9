"""TWAP: exact totals, random only inside each bucket, the same for the same seed."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.trajectory import Trajectory
from algos.twap import SIZE_SPREAD, TIME_SPREAD, plan
from tests.builders import MINUTE, NOW

HOUR = 60 * MINUTE


def twap(qty: int, slices: int = 10, seed: int = 1, width: int = HOUR) -> Trajectory:
    return plan(start=NOW, end=NOW + width, qty=Decimal(qty), lot=Decimal(1), slices=slices, seed=seed)


@pytest.mark.parametrize("qty", [1, 3, 7, 100])
@pytest.mark.parametrize("seed", range(20))
def test_a_few_lots_over_ten_slices_are_all_traded(qty: int, seed: int) -> None:
    curve = twap(qty, seed=seed)
    assert curve.targets[-1] == qty
    assert curve.target(NOW + HOUR - 1) == qty
    assert len(curve.times) == min(qty, 10)


SLICES, SEEDS = st.integers(1, 200), st.integers(0, 2**64 - 1)


@given(slices=SLICES, seed=SEEDS, width=st.integers(1, 10**6) | st.integers(10**6, 24 * HOUR))
def test_each_slice_lies_in_the_first_half_of_its_own_bucket(slices: int, seed: int, width: int) -> None:
    curve = twap(10**9, slices, seed, width)
    slices = min(slices, width)  # a bucket is a nanosecond wide, or more
    assert len(curve.times) == slices
    for k, time in enumerate(curve.times):
        assert NOW + k * width // slices <= time < NOW + width
        assert time <= NOW + int((k + TIME_SPREAD) * width / slices) + 1


@given(slices=SLICES, seed=SEEDS)
def test_each_slice_is_an_equal_share_give_or_take_its_spread(slices: int, seed: int) -> None:
    curve = twap(10**9, slices, seed)
    before = 0
    for target in curve.targets:
        share = (int(target) - before) / 10**9 * slices
        assert 1 - SIZE_SPREAD - 1e-6 <= share <= 1 + SIZE_SPREAD + 1e-6
        before = int(target)


@given(slices=SLICES, seed=SEEDS, qty=st.integers(1, 10**9))
def test_it_never_strays_from_the_straight_line_by_more_than_one_slice(slices: int, seed: int, qty: int) -> None:
    curve = twap(qty, slices, seed)
    most = qty / slices + 0.5 + qty * 2 / HOUR  # half a lot of rounding; times are whole nanoseconds
    for time in curve.times:
        for moment in (time - 1, time):  # the line rises, so it is farthest just before and at each step
            straight = qty * (moment - NOW) / HOUR
            assert abs(float(curve.target(moment)) - straight) <= most
    assert curve.target(NOW + HOUR) == qty


def test_a_seed_makes_one_curve_and_another_seed_another() -> None:
    assert twap(1000, seed=5) == twap(1000, seed=5)
    assert len({twap(1000, seed=seed) for seed in range(50)}) == 50
