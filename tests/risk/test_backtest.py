"""Tests of forecasts against the printed numbers, their definitions, and models that are known to be right or wrong."""

import datetime as dt
import math

import numpy as np
import pytest

from core.returns import Returns
from risk.backtest import (
    TESTED_MIN,
    Z1_CRITICAL,
    Z2_CRITICAL,
    Forecast,
    Verdict,
    acerbi_szekely,
    by_year,
    christoffersen,
    critical,
    kupiec,
    run,
    score,
    verdict,
)
from risk.parametric import gaussian, student_t
from risk.regime import HISTORY_MIN, Regime, fold, read
from risk.scenarios import build
from risk.shortfall import ALPHA, ScenarioError, Vector, expected_shortfall

FIRST = dt.date(2020, 1, 1)


def history(days: int = 600, symbols: int = 3, seed: int = 1) -> Returns:
    values = np.random.Generator(np.random.PCG64(seed)).normal(0, 0.01, size=(days, symbols))
    dates = tuple(FIRST + dt.timedelta(days=number) for number in range(days))
    return Returns(dates, tuple(f"S{i}" for i in range(symbols)), values)


def series(pattern: list[tuple[int, bool]]) -> np.ndarray:
    return np.repeat([hit for _, hit in pattern], [times for times, _ in pattern])


# Printed numbers ------------------------------------------------------------------------------------------------------


def test_kupiec_as_printed() -> None:
    found = kupiec(1_043, 57, 0.05)
    assert (found.statistic, found.p_value) == pytest.approx((0.46147, 0.49694), abs=6e-6)


def test_christoffersen_as_printed() -> None:
    """932 calm days after calm ones, 53 hits after calm ones, 53 calm days after hits, 4 hits after hits."""
    pairs = [(1, True), (1, False)] * 49 + [(2, True), (1, False)] * 4 + [(932, False)]
    hits = np.append(False, series(pairs))
    before, after = hits[:-1], hits[1:]
    counts = [int(((before == a) & (after == b)).sum()) for a in (False, True) for b in (False, True)]
    assert counts == [932, 53, 53, 4]
    often, independence, both = christoffersen(hits, 0.05)
    assert often == kupiec(1_043, 57, 0.05)
    assert (independence.statistic, independence.p_value) == pytest.approx((0.25866, 0.61104), abs=6e-6)
    assert (both.statistic, both.p_value) == pytest.approx((0.72013, 0.69763), abs=6e-6)


@pytest.mark.parametrize("days,least,most", [(255, 3, 11), (510, 7, 20), (1_000, 16, 35), (250, 3, 11)])
def test_kupiec_accepts_the_printed_range(days: int, least: int, most: int) -> None:
    """Kupiec 1995 at 2.5 %, 5 % significance. His rows are exclusive: 2 < N < 12 of 255."""
    accepted = [hits for hits in range(days) if kupiec(days, hits).p_value > 0.05]
    assert (accepted[0], accepted[-1]) == (least, most)


def test_nothing_times_the_logarithm_of_nothing_is_nothing() -> None:
    assert kupiec(250, 0).statistic == pytest.approx(-500 * math.log(0.975))
    assert kupiec(250, 250).p_value < 1e-100
    for hits in (np.zeros(250, dtype=bool), np.ones(250, dtype=bool)):
        assert christoffersen(hits)[1].p_value == 1.0


def test_a_cluster_is_no_independence() -> None:
    spread = np.arange(2_000) % 40 == 0
    cluster = np.arange(2_000) < 50
    assert christoffersen(spread)[1].p_value > 0.05
    assert christoffersen(cluster)[1].p_value < 1e-6
    assert christoffersen(spread)[0] == christoffersen(cluster)[0]


# Z1 and Z2 ------------------------------------------------------------------------------------------------------------


def test_z_is_its_definition() -> None:
    returns = np.array([0.01, -0.03, 0.02, -0.06, 0.0])
    hits = np.array([False, True, False, True, False])
    z1, z2 = acerbi_szekely(returns, hits, np.full(5, 0.04), 0.4)
    assert z1 == pytest.approx((-0.03 - 0.06) / 0.04 / 2 + 1)
    assert z2 == pytest.approx((-0.03 - 0.06) / 0.04 / (5 * 0.4) + 1)
    assert acerbi_szekely(returns, np.zeros(5, dtype=bool), np.full(5, 0.04)) == (None, 1.0)


def simulated(nu: float, days: int, paths: int) -> tuple[Vector, Vector]:
    """Z1 and Z2 of a right model over paths of Student's t or, for infinite `nu`, normal days."""
    rng = np.random.Generator(np.random.PCG64(11))
    draws = rng.normal(size=(paths, days)) if math.isinf(nu) else rng.standard_t(nu, size=(paths, days))
    loss = gaussian(0, 1) if math.isinf(nu) else student_t(0, math.sqrt(nu / (nu - 2)), nu)
    hits = -draws > loss.value_at_risk
    depth = np.where(hits, draws, 0.0).sum(axis=1) / loss.expected_shortfall
    return depth / np.maximum(hits.sum(axis=1), 1) + 1, depth / (days * ALPHA) + 1


@pytest.mark.parametrize(
    "nu,z1,z2", [(3, -0.427, -0.815), (5, -0.255, -0.736), (10, None, -0.710), (math.inf, -0.114, -0.702)]
)
def test_five_per_cent_of_right_models_lie_below_the_critical_value(nu: float, z1: float | None, z2: float) -> None:
    first, second = simulated(nu, 250, 40_000)
    assert np.quantile(second, 0.05) == pytest.approx(z2, abs=0.03)
    if z1 is not None:
        assert np.quantile(first, 0.05) == pytest.approx(z1, abs=0.02)
    assert np.mean(second) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("days", [125, 500, 2_000])
def test_critical_values_shrink_with_the_root_of_the_number_of_days(days: int) -> None:
    _, second = simulated(math.inf, days, 8_000)
    assert np.quantile(second, 0.05) == pytest.approx(critical(Z2_CRITICAL, days)[0], rel=0.12)


@pytest.mark.parametrize(
    "z,found",
    [(0.5, "pass"), (-0.70, "pass"), (-0.71, "doubt"), (-1.80, "doubt"), (-1.81, "fail")],
)
def test_verdicts_are_a_traffic_light(z: float, found: str) -> None:
    assert verdict(z, Z2_CRITICAL, 250) == found
    assert verdict(z / 2, Z2_CRITICAL, 1_000) == found
    assert critical(Z1_CRITICAL, 250) == Z1_CRITICAL


# The trial ------------------------------------------------------------------------------------------------------------


def test_each_day_is_forecast_from_the_days_before_it() -> None:
    returns, weights = history(), np.array([0.5, 0.7, -0.2])
    told: list[tuple[int, int]] = []
    trial = run(returns, weights, window=300, watch=lambda done, of: told.append((done, of)))
    assert (told[0], told[-1]) == ((HISTORY_MIN, 600), (600, 600))
    plain, filtered = trial.forecasts
    assert (plain.name, filtered.name) == ("plain", "filtered")
    assert trial.dates == returns.dates[300:]
    portfolio = returns.values @ weights
    assert trial.returns == pytest.approx(portfolio[300:])
    for number in (0, 7, 299):
        expected = expected_shortfall(portfolio[number : number + 300])
        assert plain.expected_shortfall[number] == pytest.approx(expected)
    later = history()
    later.values[450:] *= 5
    other = run(later, weights, window=300)
    for one, two in zip(trial.forecasts, other.forecasts, strict=True):
        assert np.array_equal(one.expected_shortfall[:151], two.expected_shortfall[:151])
        assert not np.array_equal(one.expected_shortfall, two.expected_shortfall)
    assert trial.regimes[:151] == other.regimes[:151]


def test_tomorrow_is_forecast_like_the_model_that_the_gate_gets() -> None:
    returns, weights = history(), np.array([0.5, 0.7, -0.2])
    trial, model = run(returns, weights, window=300), build(returns, window=300)
    plain, filtered = trial.tomorrow
    assert plain == pytest.approx(weights @ model.plain)
    assert filtered == pytest.approx(weights @ model.filtered)
    assert trial.regime is fold(read(returns)).on(returns.dates[-1])


def test_of_one_symbol_filtered_scenarios_are_its_own_by_hull_and_white() -> None:
    returns = history(600, 1)
    (_, filtered) = run(returns, np.ones(1), window=300).forecasts
    variance, past = float(np.mean(returns.values[:60] ** 2)), []
    for value in returns.values[:400, 0].tolist():
        past.append((value, variance))
        variance = 0.97 * variance + 0.03 * value**2
    slow = np.array([value * math.sqrt(variance / then) for value, then in past[-300:]])
    assert filtered.expected_shortfall[100] == pytest.approx(expected_shortfall(slow))


def test_quiet_days_pass_and_a_storm_fails_the_plain_model() -> None:
    quiet = run(history(2_000), np.full(3, 1 / 3))
    for forecast in quiet.forecasts:
        found = score(quiet.returns, forecast)
        assert (found.z1_verdict, found.z2_verdict) == (Verdict.PASS, Verdict.PASS)
        assert found.kupiec.p_value > 0.05
        assert found.days == 1_500
        assert 0 < found.beyond_days < found.tail_days
    storm = history(1_000)
    storm.values[800:] *= 4
    trial = run(storm, np.full(3, 1 / 3))
    plain, filtered = (score(trial.returns, forecast) for forecast in trial.forecasts)
    assert plain.z2_verdict is Verdict.FAIL
    assert plain.coverage.p_value < 1e-5
    assert filtered.z2 > plain.z2 / 2
    assert Regime.CRISIS in trial.regimes[300:]


def test_years_are_scored_apart_and_add_up() -> None:
    trial = run(history(1_400), np.full(3, 1 / 3))
    plain = trial.forecasts[0]
    years = by_year(trial, plain)
    whole = score(trial.returns, plain)
    assert list(years) == [2021, 2022, 2023]
    for name in ("days", "tail_days", "beyond_days"):
        assert sum(getattr(year, name) for year in years.values()) == getattr(whole, name)
    weighted = sum(year.z2 * year.days for year in years.values()) / whole.days
    assert weighted == pytest.approx(whole.z2)


def test_a_history_too_short_to_be_tested_is_refused_with_the_number_needed() -> None:
    with pytest.raises(ScenarioError, match=r"749 days of returns .*: 750 are needed, 500 for the first forecast"):
        run(history(500 + TESTED_MIN - 1), np.ones(3))
    with pytest.raises(ScenarioError, match="a window of 100 days is too short for a tail"):
        run(history(), np.ones(3), window=100)


def test_a_forecast_of_no_loss_is_refused() -> None:
    with pytest.raises(ScenarioError, match="plain: the forecast ES of tested day 2 is no loss"):
        score(np.zeros(3), Forecast("plain", np.ones(3), np.array([1.0, 0.0, 1.0])))
