"""The regime escalates at once and comes back slowly; a person may set it; data that stops escalates it."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.returns import Returns
from risk.regime import (
    HISTORY_MIN,
    QUIET_DAYS,
    Reading,
    Regime,
    RegimeState,
    _turbulence,
    fold,
    read,
)
from risk.shortfall import ScenarioError

FIRST = dt.date(2020, 1, 1)
NORMAL, VOLATILE, CRISIS = Regime


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def reading(number: int = 0, percentile: float = 0.5, turbulence: float = 1.0) -> Reading:
    return Reading(date=day(number), volatility=0.01, percentile=percentile, turbulence=turbulence)


SAYS = {NORMAL: reading(), VOLATILE: reading(percentile=0.9), CRISIS: reading(turbulence=9.0)}


def told(*regimes: Regime) -> RegimeState:
    """The state after days that said so."""
    days = [(SAYS[regime].percentile, SAYS[regime].turbulence) for regime in regimes]
    return fold(reading(number, *said) for number, said in enumerate(days))


@pytest.mark.parametrize(
    "percentile,turbulence,regime",
    [
        (0.5, 1.0, NORMAL),
        (0.799, 1.99, NORMAL),
        (0.80, 1.0, VOLATILE),
        (1.0, 1.99, VOLATILE),
        (0.0, 2.0, VOLATILE),
        (0.949, 3.99, VOLATILE),
        (0.95, 2.0, CRISIS),
        (0.0, 4.0, CRISIS),
    ],
)
def test_what_a_day_says(percentile: float, turbulence: float, regime: Regime) -> None:
    assert reading(0, percentile, turbulence).regime is regime


def test_the_limit_shrinks_with_the_regime() -> None:
    assert [regime.multiplier for regime in Regime] == [1.0, 0.8, 0.6]


@pytest.mark.parametrize("stormy", [VOLATILE, CRISIS])
def test_it_escalates_at_once_and_comes_back_after_quiet_days(stormy: Regime) -> None:
    state = told(NORMAL, NORMAL, stormy)
    assert state.on(day(2)) is stormy
    state = told(NORMAL, stormy, *[NORMAL] * (QUIET_DAYS - 1))
    assert state.on(day(QUIET_DAYS)) is stormy
    state = told(NORMAL, stormy, *[NORMAL] * QUIET_DAYS)
    assert state.on(day(QUIET_DAYS + 1)) is NORMAL


def test_it_comes_back_to_the_worst_of_the_quiet_days() -> None:
    days = [CRISIS, *[NORMAL] * 4, VOLATILE, *[NORMAL] * (QUIET_DAYS - 5)]
    assert told(*days[:-1]).on(day(QUIET_DAYS - 1)) is CRISIS
    assert told(*days).on(day(QUIET_DAYS)) is VOLATILE


@given(st.lists(st.sampled_from(list(Regime)), max_size=40))
def test_it_is_a_machine_that_counts_quiet_days(regimes: list[Regime]) -> None:
    """The same by hand: each regime holds for so many days after it was last seen."""
    seen: dict[Regime, int] = {}
    for number, regime in enumerate(regimes):
        seen[regime] = number
        held = max(which for which, last in seen.items() if number - last < QUIET_DAYS)
        assert told(*regimes[: number + 1]).on(day(number)) is held


@pytest.mark.parametrize(
    "age,regime", [(0, NORMAL), (5, NORMAL), (6, VOLATILE), (10, VOLATILE), (11, CRISIS), (400, CRISIS)]
)
def test_data_that_stops_escalates(age: int, regime: Regime) -> None:
    assert told(NORMAL).on(day(age)) is regime
    assert told(CRISIS).on(day(age)) is CRISIS


def test_no_data_at_all_is_a_crisis() -> None:
    assert RegimeState().on(FIRST) is CRISIS


def test_a_person_decides_until_they_take_it_back() -> None:
    state = told(CRISIS).overridden(NORMAL)
    assert state.on(day(0)) is NORMAL
    assert state.on(day(99)) is NORMAL
    state = state.after(reading(1))
    assert state.override is NORMAL
    assert state.overridden(None).on(day(1)) is CRISIS


def test_days_come_in_order() -> None:
    with pytest.raises(ValueError, match="2020-01-03 comes after that of 2020-01-03"):
        told(NORMAL, NORMAL, NORMAL).after(reading(2))


# Readings -------------------------------------------------------------------------------------------------------------


def history(days: int = 600, symbols: int = 6, **changes: Any) -> Returns:  # noqa: ANN401
    rng = np.random.Generator(np.random.PCG64(1))
    values = 0.01 * (rng.normal(size=(days, symbols)) + rng.normal(size=(days, 1)))
    return Returns(tuple(map(day, range(days))), tuple(f"S{i}" for i in range(symbols)), values)


def test_every_day_from_the_first_that_has_a_past_is_read() -> None:
    readings = list(read(history()))
    assert [each.date for each in readings] == [day(number) for number in range(HISTORY_MIN - 1, 600)]
    with pytest.raises(ScenarioError, match="249 days of returns are too short for a regime: 250 are needed"):
        list(read(history(249)))


def test_a_day_is_compared_with_the_days_before_it() -> None:
    returns = history()
    first, second, *_ = read(returns)
    smooth = 0.9 + 0.1 * _turbulence(returns.values[:249], returns.values[249])
    assert first.turbulence == pytest.approx(smooth)
    assert second.turbulence == pytest.approx(
        0.9 * smooth + 0.1 * _turbulence(returns.values[:250], returns.values[250])
    )


def test_a_usual_day_has_a_turbulence_of_one() -> None:
    assert np.mean([each.turbulence for each in read(history(3_000))]) == pytest.approx(1.0, abs=0.05)


def test_a_reading_knows_nothing_of_later_days() -> None:
    known, later = history(), history()
    later.values[400:] *= 9
    cut = 400 - HISTORY_MIN + 1
    assert list(read(later))[:cut] == list(read(known))[:cut]
    assert list(read(later))[cut] != list(read(known))[cut]


def test_a_storm_is_a_crisis_within_days_and_over_in_weeks() -> None:
    returns = history()
    returns.values[400:420] *= 4
    regimes = {each.date: each.regime for each in read(returns)}
    assert CRISIS not in [regimes[day(number)] for number in range(300, 400)]
    assert regimes[day(404)] is CRISIS
    assert regimes[day(500)] is NORMAL


def test_returns_that_fall_apart_are_unusual_at_the_same_volatility() -> None:
    returns = history(2_000).values
    together = np.full(6, 0.02)
    apart = np.array([0.02, -0.02] * 3)
    assert _turbulence(returns, apart) > 2 * _turbulence(returns, together)


@pytest.mark.parametrize("symbols", [1, 2, 7])
def test_turbulence_is_the_distance_in_a_matrix_of_one_correlation(symbols: int) -> None:
    returns, today = history(400, symbols).values, np.linspace(-0.03, 0.05, symbols)
    z = (today - returns.mean(axis=0)) / returns.std(axis=0)
    observed = np.corrcoef(returns, rowvar=False).reshape(symbols, symbols)
    rho = (observed.sum() - symbols) / (symbols * (symbols - 1)) if symbols > 1 else 0.0
    matrix = np.full((symbols, symbols), rho)
    np.fill_diagonal(matrix, 1.0)
    assert _turbulence(returns, today) == pytest.approx(z @ np.linalg.solve(matrix, z) / symbols)


def test_a_market_that_never_moved_and_then_does_is_a_crisis() -> None:
    still = np.zeros((300, 2))
    assert _turbulence(still, np.zeros(2)) == 0.0
    assert _turbulence(still, np.array([0.0, 0.1])) == 4.0
    one = history(300, 2).values * np.array([1.0, 0.0])
    assert _turbulence(one, np.array([0.01, 0.0])) == pytest.approx((0.01 - one[:, 0].mean()) ** 2 / one[:, 0].var())
