"""Curves: the sum is exact, no step strays from its share, and what is no curve is refused."""

from decimal import Decimal
from fractions import Fraction
from itertools import accumulate, pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.trajectory import Trajectory, along, rising


def shares(curve: Trajectory) -> list[int]:
    """What each point adds."""
    before = (Decimal(0), *curve.targets)
    return [int(after - done) for done, after in zip(before, curve.targets, strict=False)]


def curve_of(*weights: float, qty: int = 100, lot: str = "1") -> Trajectory:
    return along(range(len(weights)), weights, qty=Decimal(qty), lot=Decimal(lot))


def test_a_thousand_in_seven_parts() -> None:
    assert shares(curve_of(*[1.0] * 7, qty=1000)) == [143, 143, 143, 142, 143, 143, 143]


@pytest.mark.parametrize(
    "weights,qty,lot,expected",
    [
        ((1.0,), 7, "1", [7]),
        ((1.0, 3.0), 100, "1", [25, 75]),
        ((0.0, 1.0, 0.0, 1.0), 10, "1", [5, 5]),
        ((1.0, 1.0, 1.0), 1000, "100", [300, 400, 300]),
        ((1e-9, 1.0), 10, "1", [10]),
        ((1.0, 0.0, 0.0), 10, "1", [10]),
    ],
)
def test_shares_follow_the_weights_in_whole_lots(
    weights: tuple[float, ...], qty: int, lot: str, expected: list[int]
) -> None:
    assert shares(curve_of(*weights, qty=qty, lot=lot)) == expected


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0), (2.0, -1.0), (float("nan"), 1.0)])
def test_weights_that_make_no_curve_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="weights"):
        curve_of(*weights)


@pytest.mark.parametrize(
    "times,targets",
    [((), ()), ((1, 2), (Decimal(1),)), ((2, 2), (Decimal(1), Decimal(2))), ((1, 2), (Decimal(2), Decimal(1)))],
)
def test_points_that_make_no_curve_are_refused(times: tuple[int, ...], targets: tuple[Decimal, ...]) -> None:
    with pytest.raises(ValueError, match="trajectory"):
        Trajectory.of(times, targets, Decimal(1))


def test_a_curve_is_a_step_function_of_time() -> None:
    curve = Trajectory.of((10, 20), (Decimal(4), Decimal(9)), Decimal(1))
    assert [curve.target(now) for now in (9, 10, 19, 20, 99)] == [0, 4, 4, 9, 9]
    assert [curve.next_time(now) for now in (0, 10, 19, 20)] == [10, 20, 20, None]


@given(st.lists(st.integers(0, 20), min_size=1).map(sorted))
def test_times_that_share_a_nanosecond_follow_each_other(times: list[int]) -> None:
    slow = times[:1]
    for time in times[1:]:
        slow.append(max(time, slow[-1] + 1))
    assert rising(np.array(times)).tolist() == slow


def test_a_part_of_a_lot_cannot_be_a_target() -> None:
    assert Trajectory.of((10,), (Decimal(250),), Decimal(100)).targets == (Decimal(200),)


def test_a_curve_survives_its_dump() -> None:
    curve = Trajectory.of((10, 20), (Decimal("0.004"), Decimal("0.009")), Decimal("0.001"))
    again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(curve)), Trajectory)
    assert again == curve
    assert (again.times, again.targets) == ((10, 20), (Decimal("0.004"), Decimal("0.009")))


STEPS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=30)


@given(STEPS, st.integers(1, 40), st.integers(0, 40))
def test_the_most_within_a_time_is_the_largest_sum_of_steps_so_near_each_other(
    steps: list[tuple[int, int]], span: int, done: int
) -> None:
    """A curve that goes on from what is done begins there, so the first `done` lots of it are no steps."""
    times = list(accumulate(gap for gap, _ in steps))
    lots = list(accumulate(lot for _, lot in steps))
    curve = Trajectory.of(times, map(Decimal, lots), Decimal(1))
    slow = max(sum(lot for time, (_, lot) in zip(times, steps, strict=True) if t <= time < t + span) for t in times)
    assert curve.most_within(span) == slow
    rest = [max(lot - done, 0) for lot in lots]
    steps = [(0, after - before) for before, after in pairwise([0, *rest])]
    slow = max(sum(lot for time, (_, lot) in zip(times, steps, strict=True) if t <= time < t + span) for t in times)
    assert curve.most_within(span, Decimal(done)) == slow


def test_a_curve_that_goes_on_from_what_is_done_has_its_first_point_even_where_that_adds_nothing() -> None:
    curve = along([10, 20, 30], [0.0, 1.0, 1.0], qty=Decimal(10), lot=Decimal(1), done=Decimal(4))
    assert (curve.times, curve.targets) == ((10, 20, 30), (Decimal(4), Decimal(7), Decimal(10)))
    assert along([10, 20], [0.0, 1.0], qty=Decimal(10), lot=Decimal(1)).times == (20,)


WEIGHTS = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=60).filter(lambda w: sum(w) > 0)


@given(WEIGHTS, st.integers(1, 10**7), st.sampled_from(["1", "100", "0.001"]))
def test_the_total_is_exact_and_every_point_is_within_half_a_lot_of_its_share(
    weights: list[float], lots: int, lot: str
) -> None:
    step = Decimal(lot)
    curve = along(range(len(weights)), weights, qty=lots * step, lot=step)
    assert curve.targets[-1] == lots * step
    parts = [Fraction(weight) for weight in weights]
    for now in range(len(weights) - 1):  # the last point takes what is left
        wanted = sum(parts[: now + 1], Fraction()) / sum(parts) * lots
        got = Fraction(curve.target(now) / step)
        assert got.denominator == 1
        assert abs(got - wanted) <= Fraction(1, 2) + Fraction(lots, 10**12)  # and what adding floats loses
