"""What becomes of daily returns: scenarios, checked and dated, or a refusal that names symbol, day and remedy."""

import datetime as dt
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.returns import Returns
from risk.scenarios import (
    FALL_MAX,
    LAMBDA,
    SEED_DAYS,
    STILL_MAX,
    Proxy,
    build,
    ewma_volatility,
    shrunk_correlation,
    sound,
    standardised,
)
from risk.shortfall import Matrix, ScenarioError, expected_shortfall

FIRST = dt.date(2020, 1, 1)
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
SECTORS = {"AAA": "Tech", "BBB": "Tech", "CCC": "Tech", "DDD": "Banks"}


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def history(days: int = 300, seed: int = 1, **changes: Any) -> Returns:  # noqa: ANN401
    """Days of four symbols that move with a market."""
    rng = np.random.Generator(np.random.PCG64(seed))
    values = 0.01 * (rng.normal(size=(days, 4)) + rng.normal(size=(days, 1)))
    fields: dict[str, Any] = {"dates": tuple(map(day, range(days))), "symbols": SYMBOLS, "values": values}
    return Returns(**(fields | changes))


def having(value: float, on: int | slice, column: int, days: int = 300) -> Returns:
    returns = history(days)
    returns.values[on, column] = value
    return returns


# The model ------------------------------------------------------------------------------------------------------------


def test_a_model_is_the_last_days_dated_and_read_only() -> None:
    returns = history(400)
    model = build(returns, window=250)
    assert (model.date, model.symbols, model.proxies) == (day(399), SYMBOLS, ())
    assert model.plain.tolist() == returns.values[-250:].T.tolist()
    assert model.filtered.shape == (4, 250)
    for matrix in (model.plain, model.filtered, model.correlation):
        assert matrix.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            matrix[0, 0] = 1.0
    returns.values[-1, 0] = 9.0
    assert model.plain[0, -1] != 9.0


def test_its_version_names_its_numbers() -> None:
    known = build(history(), window=250).version
    assert known == build(history(), window=250).version
    assert re.fullmatch("[0-9a-f]{12}", known)
    others = [
        build(history(seed=2), window=250),
        build(history(), window=251),
        build(history(), window=250, decay=0.94),
        build(history(symbols=("AAA", "BBB", "CCC", "EEE")), window=250),
        build(history(dates=tuple(day(n + 1) for n in range(300))), window=250),
    ]
    assert len({known, *(other.version for other in others)}) == 6


def test_filtered_days_are_plain_ones_at_the_volatility_of_tomorrow() -> None:
    returns = history()
    model = build(returns, window=250)
    for column in range(4):
        variance = float(np.mean(returns.values[:SEED_DAYS, column] ** 2))
        past = []
        for value in returns.values[:, column].tolist():
            past.append((value, variance))
            variance = LAMBDA * variance + (1 - LAMBDA) * value**2
        slow = [value * (variance / then) ** 0.5 for value, then in past[-250:]]
        assert model.filtered[column].tolist() == pytest.approx(slow, rel=1e-12)


def test_in_a_storm_filtered_scenarios_are_worse_and_after_it_better() -> None:
    storm = history(600)
    storm.values[-20:] *= 4
    model = build(storm, window=500)
    assert expected_shortfall(model.filtered[0]) > 1.5 * expected_shortfall(model.plain[0])
    calm = history(600)
    calm.values[:-100] *= 4
    model = build(calm, window=500)
    assert expected_shortfall(model.filtered[0]) < expected_shortfall(model.plain[0])


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "returns,words",
    [
        (history(499), "499 days of returns are too short a history: 500 are needed"),
        (having(-0.5, 7, 1, 500), "BBB on 2020-01-08: -50.0% looks like a split or an error; .* allow BBB@2020-01-08"),
        (having(-FALL_MAX, 7, 1, 500), "looks like a split"),
        (having(1.0, 7, 1, 500), r"BBB on 2020-01-08: \+100.0% looks like a split"),
        (having(-1.5, 7, 1, 500), "BBB on 2020-01-08: -1.5 is no simple return"),
        (having(np.inf, 7, 1, 500), "BBB on 2020-01-08: inf is no simple return"),
        (having(-np.inf, 7, 1, 500), "BBB on 2020-01-08: -inf is no simple return"),
        (having(np.nan, slice(3, 9), 2, 500), "CCC has no return on 6 of 500 days, first on 2020-01-04: .* its sector"),
        (having(0.0, slice(10, 11 + STILL_MAX), 3, 500), "DDD has not moved for 21 days up to 2020-01-31"),
        (history(500, dates=(day(1), *map(day, range(1, 500)))), "2020-01-02 comes after 2020-01-02"),
        (history(500, symbols=("AAA", "BBB", "AAA", "CCC")), "AAA is there more than once"),
    ],
)
def test_what_is_unsound_is_refused_by_name(returns: Returns, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        build(returns)


def test_too_short_a_window_is_refused() -> None:
    with pytest.raises(ScenarioError, match="249 days is too short for a tail: 250 are the least"):
        build(history(), window=249)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 dates of 4 symbols do not make an array of shape"):
        sound(history(dates=(day(0), day(1))))
    with pytest.raises(ValueError, match="between 0 and 1"):
        build(history(), window=250, decay=1.0)


def test_a_jump_that_happened_is_allowed_by_its_name_and_day() -> None:
    returns = having(-0.6, 7, 1)
    assert sound(returns, allowed=frozenset({("BBB", day(7))})) == (returns, ())
    for other in (("BBB", day(8)), ("AAA", day(7))):
        with pytest.raises(ScenarioError, match="looks like a split"):
            sound(returns, allowed=frozenset({other}))


def test_a_pause_of_some_days_is_none() -> None:
    sound(having(0.0, slice(10, 10 + STILL_MAX), 3))


# Proxies --------------------------------------------------------------------------------------------------------------


def test_a_gap_is_filled_by_the_sector_and_named() -> None:
    returns = having(np.nan, slice(0, 50), 2)
    returns.values[50:, 2] *= 3
    filled, (proxy,) = sound(returns, sectors=SECTORS)
    peers = returns.values[:, :2].mean(axis=1)
    scale = returns.values[50:, 2].std() / peers[50:].std()
    assert proxy == Proxy("CCC", 50, "Tech", proxy.scale)
    assert proxy.scale == pytest.approx(scale)
    assert filled.values[:50, 2].tolist() == pytest.approx((scale * peers[:50]).tolist())
    assert np.array_equal(filled.values[50:], returns.values[50:])
    assert np.isnan(returns.values[0, 2])
    assert build(returns, window=250, sectors=SECTORS).proxies == (proxy,)


def test_a_proxy_is_never_scaled_down() -> None:
    returns = having(np.nan, slice(0, 50), 2)
    returns.values[50:, 2] /= 100
    _, (proxy,) = sound(returns, sectors=SECTORS)
    assert proxy.scale == 1.0


def test_a_gap_of_a_peer_leaves_the_others() -> None:
    returns = having(np.nan, 5, 2)
    returns.values[5, 1] = np.nan
    filled, proxies = sound(returns, sectors=SECTORS)
    assert [proxy.symbol for proxy in proxies] == ["BBB", "CCC"]
    assert filled.values[5, 2] / proxies[1].scale == pytest.approx(returns.values[5, 0])


@pytest.mark.parametrize(
    "gaps,column,words",
    [
        (slice(5, 6), 3, "DDD has no return .*: no other symbol of Banks has one on 2020-01-06 either"),
        (slice(0, 151), 2, "CCC has no return on 151 of 300 days, .*: too many for a proxy, .* 50% of them"),
    ],
)
def test_a_gap_that_nothing_can_stand_for_is_refused(gaps: slice, column: int, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        sound(having(np.nan, gaps, column), sectors=SECTORS)


# Volatility and correlation -------------------------------------------------------------------------------------------


@given(st.integers(0, 250))
def test_volatility_knows_nothing_of_its_own_day_or_later(number: int) -> None:
    values = history().values
    later = values.copy()
    later[SEED_DAYS + number % 200 :] *= 7
    known = SEED_DAYS + number % 200
    assert np.array_equal(ewma_volatility(values)[: known + 1], ewma_volatility(later)[: known + 1])


def test_standardised_returns_have_unit_size() -> None:
    values = np.random.Generator(np.random.PCG64(4)).normal(0, 0.02, size=(5_000, 2))
    assert standardised(values, ewma_volatility(values)).std(axis=0) == pytest.approx([1, 1], abs=0.05)
    still = np.zeros((100, 1))
    assert not standardised(still, ewma_volatility(still)).any()


def slow_shrinkage(rows: Matrix) -> float:
    z = [(row - row.mean()) / row.std() for row in rows]
    pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j]
    r = {pair: float(np.mean(z[pair[0]] * z[pair[1]])) for pair in pairs}
    mean = sum(r.values()) / len(r)
    error = sum(float(np.var(z[i] * z[j], ddof=1)) / len(z[i]) for i, j in pairs)
    return min(1.0, error / sum((value - mean) ** 2 for value in r.values()))


def test_correlations_are_shrunk_to_their_mean_by_what_they_are_unsure() -> None:
    by_days = {}
    for days in (60, 300, 3_000):
        rows = history(days).values.T * np.array([[1], [-1], [2], [1]])
        found, shrinkage = shrunk_correlation(rows)
        by_days[days] = shrinkage
        observed = np.corrcoef(rows)
        mean = (observed.sum() - 4) / 12
        assert shrinkage == pytest.approx(slow_shrinkage(rows), rel=1e-9)
        assert np.diag(found).tolist() == [1, 1, 1, 1]
        expected = (1 - shrinkage) * observed + shrinkage * mean
        np.fill_diagonal(expected, 1)
        assert found == pytest.approx(expected, abs=1e-12)
        assert np.array_equal(found, found.T)
        assert np.linalg.eigvalsh(found).min() > 0
    assert 1 > by_days[60] > by_days[300] > by_days[3_000] > 0


def test_one_symbol_or_two_have_a_correlation_too() -> None:
    found, _ = shrunk_correlation(history().values.T[:1])
    assert found.tolist() == [[1]]
    found, shrinkage = shrunk_correlation(history().values.T[:2])
    assert shrinkage == 1.0  # one pair is its own mean
    left, right = history().values.T[:2]
    assert found[0, 1] == pytest.approx(
        float(np.mean((left - left.mean()) * (right - right.mean())) / left.std() / right.std())
    )
