"""The risk model against other people's code and data: skfolio's CVaR, and the S&P 500 that the arch package ships.

Neither is needed to develop: `pip install --group reference` brings both, and without them these tests skip.
"""

from typing import Any

import numpy as np
import pytest

from core.returns import Returns
from risk.backtest import Trial, Verdict, by_year, run, score
from risk.regime import Regime
from risk.shortfall import ALPHA, Vector, expected_shortfall


def index() -> Returns:
    """Daily returns of the S&P 500, 1999 to 2018."""
    closes = _package("arch.data.sp500").load()["Adj Close"]
    values = closes.pct_change().dropna()
    return Returns(tuple(day.date() for day in values.index), ("SPX",), values.to_numpy()[:, np.newaxis])


def cvar(returns: Vector) -> float:
    """Theirs; a package without types."""
    return float(_package("skfolio.measures").cvar(returns, beta=1 - ALPHA))


def _package(name: str) -> Any:  # noqa: ANN401 - a module
    return pytest.importorskip(name, reason=f"the package {name.split('.', maxsplit=1)[0]} is not here")


@pytest.mark.parametrize("days", [40, 41, 250, 500, 999])
@pytest.mark.parametrize("seed", range(3))
def test_expected_shortfall_is_the_cvar_of_skfolio(days: int, seed: int) -> None:
    returns = np.random.Generator(np.random.PCG64(seed)).standard_t(4, size=days) * 0.01
    assert expected_shortfall(returns) == pytest.approx(cvar(returns), rel=1e-12)


def test_expected_shortfall_is_the_cvar_of_skfolio_on_its_own_data() -> None:
    prices = _package("skfolio.datasets").load_sp500_dataset()
    returns = _package("skfolio.preprocessing").prices_to_returns(prices).to_numpy()
    assert returns.shape == (8312, 20)
    for portfolio in (*returns.T, returns.mean(axis=1)):
        for window in (portfolio, portfolio[-250:]):
            assert expected_shortfall(window) == pytest.approx(cvar(window), rel=1e-12)


@pytest.fixture(scope="module")
def trial() -> Trial:
    """Each day of 2001 to 2018 forecast from the 500 days before it."""
    return run(index(), np.ones(1), window=500)


def test_filtered_shortfall_of_the_index_holds_and_the_plain_one_fails_in_2008(trial: Trial) -> None:
    plain, filtered = (score(trial.returns, forecast) for forecast in trial.forecasts)
    assert filtered.days == 4_530
    # 95 % of right models lie within 2.5 % +- 1.96 sqrt(0.025 0.975 / 4,530)
    assert 0.0204 < filtered.tail_days / filtered.days < 0.0296
    assert plain.kupiec.p_value < filtered.kupiec.p_value
    assert filtered.kupiec.p_value > 0.05
    plain_2008, filtered_2008 = (by_year(trial, forecast)[2008] for forecast in trial.forecasts)
    assert plain_2008.z2_verdict is Verdict.FAIL
    assert filtered_2008.z2 > plain_2008.z2


def test_october_2008_is_a_crisis_of_the_index_and_2017_has_none(trial: Trial) -> None:
    regimes = dict(zip(trial.dates, trial.regimes, strict=True))
    assert {regimes[day] for day in regimes if (day.year, day.month) == (2008, 10)} == {Regime.CRISIS}
    assert Regime.CRISIS not in {regimes[day] for day in regimes if day.year == 2017}
