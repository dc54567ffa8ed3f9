"""VWAP: the curve is the expected share of the day's volume, recomputed here by walking through the day."""

import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.profile import DEFAULT, Profile, ProfileError, learn
from algos.trajectory import Trajectory
from algos.vwap import STEP_NS, again, plan
from tests.builders import MINUTE, session

OPEN, CLOSE = session().open, session().close
DAY = CLOSE - OPEN
HALF_HOUR = 30 * MINUTE
DEFAULT_PROFILE = DEFAULT.parts


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
    now = np.array([OPEN + int(half_hours * HALF_HOUR)])
    assert DEFAULT.done((OPEN, CLOSE), now) == pytest.approx([expected])


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
    assert DEFAULT.done((OPEN, CLOSE), np.array([now])) == pytest.approx([slow(now, OPEN, CLOSE)], abs=1e-9)


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


# What the day makes of it ---------------------------------------------------------------------------------------------


def rest(now: int, seen: float, profile: Profile = DEFAULT, slices: int = 13) -> Trajectory:
    curve = again(
        start=OPEN,
        end=CLOSE,
        now=now,
        seen=seen,
        qty=Decimal(1_000_000),
        lot=Decimal(1),
        slices=slices,
        session=(OPEN, CLOSE),
        profile=profile,
    )
    assert curve is not None
    return curve


@pytest.mark.parametrize("k", range(13))
def test_a_day_as_expected_changes_nothing(k: int) -> None:
    profile = Profile(DEFAULT_PROFILE, 1e6)
    curve = rest(OPEN + k * HALF_HOUR, sum(DEFAULT_PROFILE[:k]) * 1e6, profile)
    static = vwap(slices=13)
    assert curve.times == static.times[k:]
    assert all(abs(a - b) <= 1 for a, b in zip(curve.targets, static.targets[k:], strict=True))


@pytest.mark.parametrize("seen", [0.0, 1.0, 1e9])
def test_without_a_size_of_the_day_its_volume_moves_nothing(seen: float) -> None:
    static = vwap(slices=13)
    found = rest(OPEN + 4 * HALF_HOUR, seen).targets
    assert all(abs(a - b) <= 1 for a, b in zip(found, static.targets[4:], strict=True))


def test_a_busy_morning_is_a_busy_day_but_not_as_much_busier() -> None:
    profile = Profile(DEFAULT_PROFILE, 1e6)
    part = sum(DEFAULT_PROFILE[:2])
    assert 1e6 < profile.day(2 * part * 1e6, part) < 2e6
    usual, busy = rest(OPEN + HALF_HOUR, 0.15e6, profile), rest(OPEN + HALF_HOUR, 0.3e6, profile)
    assert busy.target(OPEN + HALF_HOUR) > usual.target(OPEN + HALF_HOUR)  # more of the day is done than was thought


@given(seen=st.floats(0, 1e12), k=st.integers(0, 12), volume=st.sampled_from([0.0, 1.0, 1e6, 1e9]))
def test_whatever_was_seen_the_rest_ends_at_the_whole(seen: float, k: int, volume: float) -> None:
    curve = rest(OPEN + k * HALF_HOUR, seen, Profile(DEFAULT_PROFILE, volume))
    assert curve.targets[-1] == 1_000_000
    assert OPEN + k * HALF_HOUR <= curve.times[0]
    assert curve.times[-1] < CLOSE


def test_the_residual_follows_the_forecast_of_what_is_left() -> None:
    # 1,000 shares, 30 % done as the market has, 160 / 90 / 60 / 90 of 400 left: 280, 157.5, 105, 157.5
    profile = Profile((300 / 7 * 4, 160, 90, 60, 90), 0.0)
    curve = again(
        start=0,
        end=500,
        now=100,
        seen=12_345.0,
        qty=Decimal(1_000),
        lot=Decimal("0.5"),
        slices=5,
        session=(0, 500),
        profile=profile,
    )
    assert curve is not None
    before = (Decimal(300), *curve.targets)
    assert [b - a for a, b in itertools.pairwise(before)] == [280, Decimal("157.5"), 105, Decimal("157.5")]


def test_before_the_window_and_after_its_last_edge_there_is_nothing_to_plan_again() -> None:
    for now in (OPEN - 1, CLOSE):
        assert (
            again(
                start=OPEN,
                end=CLOSE,
                now=now,
                seen=0.0,
                qty=Decimal(9),
                lot=Decimal(1),
                slices=4,
                session=(OPEN, CLOSE),
                profile=DEFAULT,
            )
            is None
        )


# Profiles -------------------------------------------------------------------------------------------------------------


def test_a_profile_is_the_mean_of_the_fractions_of_its_days() -> None:
    profile = learn([[1, 3], [30, 10], [0, 0]])
    assert profile.parts == pytest.approx((0.5, 0.5))
    assert profile.volume == 22.0


@pytest.mark.parametrize("days", [[], [[0, 0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_days_without_volume_make_no_profile(days: list[list[float]]) -> None:
    with pytest.raises(ProfileError, match="none of the days"):
        learn(days)


@pytest.mark.parametrize(
    "parts,volume",
    [((), 0), ((0.0,), 0), ((-1.0, 2.0), 0), ((math.nan,), 0), ((1.0,), -1.0), ((1.0,), math.inf), ((1.0,) * 1441, 0)],
)
def test_what_is_no_profile_is_refused(parts: tuple[float, ...], volume: float) -> None:
    with pytest.raises(ProfileError):
        Profile(parts, volume)


def test_a_profile_with_holes_trades_nothing_in_them() -> None:
    curve = plan(
        start=OPEN,
        end=CLOSE,
        qty=Decimal(300),
        lot=Decimal(1),
        slices=3,
        session=(OPEN, CLOSE),
        profile=Profile((1.0, 0.0, 2.0)),
    )
    assert curve.targets == (Decimal(100), Decimal(300))
