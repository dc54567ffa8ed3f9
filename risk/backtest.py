"""Whether the model would have known: forecasts of each day from the days before it, held against what came.

Two questions, by the tests that the literature and the rules of the trade use. *How often* did the loss reach the tail,
where 2.5 % of days are right: Kupiec's proportion of failures, Christoffersen's independence and both together. *How
deep* was it, where ES speaks: Acerbi and Szekely's Z1 (the mean depth of the tail's days against ES) and Z2 (frequency
and depth at once). Z is 0 on average where the model is right and negative where it understates.

A loss beyond ES itself is no failure: of normal days 1.0 % are, of fat-tailed ones somewhat fewer.
"""

import datetime as dt
import math
from collections.abc import Callable
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.returns import Returns
from risk.regime import HISTORY_MIN, Regime, RegimeState, read
from risk.scenarios import LAMBDA, WINDOW, WINDOW_MIN, ewma_volatility, standardised
from risk.shortfall import ALPHA, ScenarioError, Vector, expected_shortfall, value_at_risk

TESTED_MIN = 250  # days: the critical values are for so many

# Acerbi and Szekely 2014, alpha 2.5 %, 250 days: the values below which 5 % and 0.01 % of right models come by chance.
# Z2's hardly depend on the shape of the tail: these are the normal's, as the paper proposes. Z1's do: Student's t with
# 5 degrees of freedom, near what daily returns are.
Z1_CRITICAL = (-0.255, -1.84)
Z2_CRITICAL = (-0.70, -1.80)

Hits = NDArray[np.bool_]


class Verdict(StrEnum):
    """What a statistic says of the model."""

    PASS = "pass"  # noqa: S105 - no password
    DOUBT = "doubt"  # a right model comes here in 5 % of cases
    FAIL = "fail"  # a right model comes here in 0.01 %


class Ratio(msgspec.Struct, frozen=True):
    """A test by likelihoods: twice the logarithm of their ratio, and how often a right model has a larger one."""

    statistic: float
    p_value: float


class Forecast(msgspec.Struct, frozen=True):
    """One estimator's VaR and ES for each tested day (D,), positive losses."""

    name: str
    value_at_risk: Vector
    expected_shortfall: Vector


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The tested days: what the portfolio returned (D,), what was forecast the evening before, and the regime then.

    `tomorrow` holds each estimator's scenarios (window,) for the day after the last, and `regime` is the one on it.
    """

    dates: tuple[dt.date, ...]
    returns: Vector
    forecasts: tuple[Forecast, ...]
    regimes: tuple[Regime, ...]
    tomorrow: tuple[Vector, ...]
    regime: Regime


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How one estimator did over some days. `z1` is None where no day reached the tail."""

    days: int
    tail_days: int  # loss beyond VaR
    beyond_days: int  # loss beyond ES
    mean_shortfall: float  # the forecast ES on average
    kupiec: Ratio
    independence: Ratio
    coverage: Ratio
    z1: float | None
    z2: float

    @property
    def z1_verdict(self) -> Verdict:
        """By the depth of the tail's days."""
        return Verdict.PASS if self.z1 is None else verdict(self.z1, Z1_CRITICAL, self.days)

    @property
    def z2_verdict(self) -> Verdict:
        """By frequency and depth."""
        return verdict(self.z2, Z2_CRITICAL, self.days)


# Forecasts ------------------------------------------------------------------------------------------------------------


def run(
    returns: Returns,
    weights: Vector,
    *,
    window: int = WINDOW,
    decay: float = LAMBDA,
    watch: Callable[[int, int], None] | None = None,
) -> Trial:
    """Forecast every day after the first `window` ones from the `window` days before it, plain and filtered.

    `returns` are `risk.scenarios.sound`; `weights` (n,) are held constant, which means rebalanced daily. Filtered
    scenarios are the gate's: each symbol by its own volatility. `watch` is told days done and days in all. Raises
    ScenarioError where the history is too short.
    """
    days = len(returns.dates)
    if window < WINDOW_MIN:
        raise ScenarioError(f"a window of {window} days is too short for a tail: {WINDOW_MIN} are the least")
    if days < window + TESTED_MIN:
        needed = f"{window + TESTED_MIN} are needed, {window} for the first forecast and {TESTED_MIN} to be tested"
        raise ScenarioError(f"{days} days of returns are too short a history: {needed}")
    values, volatility = returns.values, ewma_volatility(returns.values, decay)
    units, portfolio = standardised(values, volatility), values @ weights
    plain, filtered = np.empty((2, days - window)), np.empty((2, days - window))
    state, regimes = RegimeState(), []
    for day, reading in enumerate(read(returns), HISTORY_MIN - 1):
        if day >= window:
            past, number = slice(day - window, day), day - window
            plain[:, number] = _forecast(portfolio[past])
            filtered[:, number] = _forecast(units[past] @ (weights * volatility[day]))
            regimes.append(state.on(returns.dates[day - 1]))  # known the evening before
        state = state.after(reading)
        if watch is not None:
            watch(day + 1, days)
    return Trial(
        dates=returns.dates[window:],
        returns=portfolio[window:],
        forecasts=(Forecast("plain", *plain), Forecast("filtered", *filtered)),
        regimes=tuple(regimes),
        tomorrow=(portfolio[-window:], units[-window:] @ (weights * volatility[-1])),
        regime=state.on(returns.dates[-1]),
    )


def _forecast(scenarios: Vector) -> tuple[float, float]:
    return value_at_risk(scenarios), expected_shortfall(scenarios)


# Scores ---------------------------------------------------------------------------------------------------------------


def score(returns: Vector, forecast: Forecast) -> Score:
    """All tests over the days of `returns` (D,), which the forecast's arrays are for."""
    var, es = forecast.value_at_risk, forecast.expected_shortfall
    if not (es > 0.0).all():
        day = int(np.flatnonzero(es <= 0.0)[0])
        raise ScenarioError(
            f"{forecast.name}: the forecast ES of tested day {day + 1} is no loss, nothing can exceed it"
        )
    hits = -returns > var
    kupiec, independence, coverage = christoffersen(hits)
    z1, z2 = acerbi_szekely(returns, hits, es)
    return Score(
        days=len(returns),
        tail_days=int(hits.sum()),
        beyond_days=int((-returns > es).sum()),
        mean_shortfall=float(es.mean()),
        kupiec=kupiec,
        independence=independence,
        coverage=coverage,
        z1=z1,
        z2=z2,
    )


def by_year(trial: Trial, forecast: Forecast) -> dict[int, Score]:
    """The score of each calendar year."""
    years = np.array([date.year for date in trial.dates])
    return {
        int(year): score(
            trial.returns[years == year],
            Forecast(forecast.name, forecast.value_at_risk[years == year], forecast.expected_shortfall[years == year]),
        )
        for year in np.unique(years)
    }


def kupiec(days: int, hits: int, probability: float = ALPHA) -> Ratio:
    """Proportion of failures (Kupiec 1995): whether `hits` of `days` fit the probability; chi-squared, 1 degree."""
    ratio = 2.0 * (_likelihood(days, hits, hits / days) - _likelihood(days, hits, probability))
    return Ratio(max(ratio, 0.0), _chi_squared_1(ratio))


def christoffersen(hits: Hits, probability: float = ALPHA) -> tuple[Ratio, Ratio, Ratio]:
    """Kupiec's test, independence of one day from the one before, and both (Christoffersen 1998; 1, 1, 2 degrees)."""
    before, after = hits[:-1], hits[1:]
    calm, hit = int((~before).sum()), int(before.sum())
    calm_hits, hit_hits = int((~before & after).sum()), int((before & after).sum())
    alike = _likelihood(calm + hit, calm_hits + hit_hits, (calm_hits + hit_hits) / max(calm + hit, 1))
    apart = _likelihood(calm, calm_hits, calm_hits / max(calm, 1)) + _likelihood(hit, hit_hits, hit_hits / max(hit, 1))
    often = kupiec(len(hits), int(hits.sum()), probability)
    ratio = max(2.0 * (apart - alike), 0.0)
    both = often.statistic + ratio
    return often, Ratio(ratio, _chi_squared_1(ratio)), Ratio(both, math.exp(-both / 2.0))


def acerbi_szekely(
    returns: Vector, hits: Hits, shortfall: Vector, probability: float = ALPHA
) -> tuple[float | None, float]:
    """Z1 = sum(X_t I_t / ES_t) / N + 1, None for no hit, and Z2 = sum(X_t I_t / ES_t) / (T alpha) + 1."""
    depth = float((returns[hits] / shortfall[hits]).sum())
    count = int(hits.sum())
    return depth / count + 1.0 if count else None, depth / (len(returns) * probability) + 1.0


def critical(values: tuple[float, float], days: int) -> tuple[float, float]:
    """Critical values for another number of days than 250: they shrink like a mean's, with the root of the number."""
    scale = math.sqrt(TESTED_MIN / days)
    return values[0] * scale, values[1] * scale


def verdict(z: float, values: tuple[float, float], days: int) -> Verdict:
    """What Z says over so many days."""
    doubt, fail = critical(values, days)
    return Verdict.FAIL if z < fail else Verdict.DOUBT if z < doubt else Verdict.PASS


def _likelihood(trials: int, hits: int, probability: float) -> float:
    """The logarithm of p^x (1 - p)^(n - x), where 0 log 0 is 0."""
    missed = trials - hits
    return (hits * math.log(probability) if hits else 0.0) + (missed * math.log1p(-probability) if missed else 0.0)


def _chi_squared_1(statistic: float) -> float:
    return math.erfc(math.sqrt(max(statistic, 0.0) / 2.0))
