"""VWAP: the curve is the expected share of the day's volume, recomputed here by walking through the day."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.trajectory import Trajectory
from algos.vwap import DEFAULT_PROFILE, STEP_NS, cumulative, plan
from tests.builders import MINUTE, session

OPEN, CLOSE = session().open, session().close
DAY = CLOSE - OPEN
HALF_HOUR = 30 * MINUTE


def vwap(
    start: int = OPEN,
    end: int = CLOSE,
    qty: int = 1_000_000,
    *,
    slices: int | None = None,
    session: tuple[int, int] = (OPEN, CLOSE),
) -> Trajectory:
    return plan(start=start, end=end, qty=Decimal(qty), lot=Decimal(1), slices=slices, session=session)


def test_the_default_profile_is_the_day_of_thirteen_half_hours() -> None:
    assert len(DEFAULT_PROFILE) == 13
    assert sum(DEFAULT_PROFILE) == pytest.approx(1)
    assert (DEFAULT_PROFILE[0], DEFAULT_PROFILE[1], DEFAULT_PROFILE[11], DEFAULT_PROFILE[12]) == (
        0.15,
        0.12,
        0.12,
        0.11,
    )
    assert all(share == pytest.approx(0.0556, abs=1e-4) for share in DEFAULT_PROFILE[2:11])


@pytest.mark.parametrize(
    "half_hours,expected", [(-1, 0.0), (0, 0.0), (0.5, 0.075), (1, 0.15), (2, 0.27), (11, 0.77), (13, 1.0), (99, 1.0)]
)
def test_volume_done_by_a_time(half_hours: float, expected: float) -> None:
    assert cumulative(DEFAULT_PROFILE, (OPEN, CLOSE), OPEN + int(half_hours * HALF_HOUR)) == pytest.approx(expected)


def slow(now: int, opened: int, closed: int) -> float:
    """The share of the day's volume before `now`, one bucket of the profile after the other."""
    total, width, now = 0.0, (closed - opened) / len(DEFAULT_PROFILE), now - opened
    for k, share in enumerate(DEFAULT_PROFILE):
        since = k * width
        if now >= since + width:
            total += share
        elif now > since:
            total += share * (now - since) / width
    return total


@given(st.integers(OPEN - HALF_HOUR, CLOSE + HALF_HOUR))
def test_volume_done_agrees_with_walking_through_the_day(now: int) -> None:
    assert cumulative(DEFAULT_PROFILE, (OPEN, CLOSE), now) == pytest.approx(slow(now, OPEN, CLOSE), abs=1e-9)


def test_a_day_in_half_hours_has_the_profile_as_its_shares() -> None:
    curve = vwap(slices=13)
    done = Decimal(0)
    for k, share in enumerate(DEFAULT_PROFILE):
        target = curve.target(OPEN + k * HALF_HOUR)
        assert float(target - done) == pytest.approx(share * 1_000_000, abs=1.01)
        done = target


WINDOWS = st.tuples(st.integers(OPEN, CLOSE - MINUTE), st.integers(1, DAY)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], CLOSE))
)


@given(WINDOWS, st.none() | st.integers(1, 100))
def test_the_curve_follows_the_profile_inside_its_window(window: tuple[int, int], slices: int | None) -> None:
    start, end = window
    curve = vwap(start, end, slices=slices)
    count = slices or max(1, (end - start) // STEP_NS)
    before, whole = slow(start, OPEN, CLOSE), slow(end, OPEN, CLOSE) - slow(start, OPEN, CLOSE)
    if whole < 1e-6:
        return  # a window of milliseconds has no profile to speak of
    for k in range(count):
        edge, bucket_end = start + (end - start) * k // count, start + (end - start) * (k + 1) // count
        wanted = (slow(bucket_end, OPEN, CLOSE) - before) / whole * 1_000_000
        assert float(curve.target(edge)) == pytest.approx(wanted, abs=2)


def test_without_slices_it_is_cut_into_five_minutes() -> None:
    assert len(vwap().times) == 78
    assert vwap().times[:2] == (OPEN, OPEN + STEP_NS)
    assert vwap(OPEN, OPEN + 100).times == (OPEN,)


def test_a_half_day_has_the_same_profile_in_less_time() -> None:
    noon = OPEN + DAY * 7 // 13
    full, half = vwap(slices=13), vwap(OPEN, noon, slices=13, session=(OPEN, noon))
    assert half.targets == full.targets
    assert half.times[-1] < noon


def test_a_window_partly_outside_the_session_trades_nothing_there() -> None:
    curve = vwap(OPEN - 2 * HALF_HOUR, OPEN + 2 * HALF_HOUR, slices=4)
    assert curve.times == (OPEN, OPEN + HALF_HOUR)
    assert float(curve.targets[0]) == pytest.approx(0.15 / 0.27 * 1_000_000, abs=1)


def test_a_window_outside_the_profile_is_even() -> None:
    curve = vwap(CLOSE, CLOSE + 4 * MINUTE, 100, slices=4)
    assert curve.targets == (Decimal(25), Decimal(50), Decimal(75), Decimal(100))
    assert len(vwap(CLOSE, CLOSE + 4, 100, slices=50).times) == 4
