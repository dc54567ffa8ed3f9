"""From daily returns to the scenarios that orders are judged by: checked, proxied by name, filtered, dated, immutable.

A scenario is a day of the past: what every symbol returned on it. *Plain* scenarios take the days as they were.
*Filtered* ones (Hull and White 1998) give each symbol's days the volatility of tomorrow: r_t sigma_T+1 / sigma_t, with
sigma_t from the days before t alone, by exponential weights. Plain scenarios learn of a crisis when it is half over,
filtered ones within days: the gate holds a portfolio to both.

Nothing that makes the past look better than it was gets in by itself. A day that is missing is refused, or filled by
the symbol's sector, scaled up to the symbol's own volatility, and the result says so. A return that looks like a split,
a series that stands still, a history too short: each is refused with symbol, date and remedy.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.returns import Returns
from risk.shortfall import Matrix, ScenarioError, Vector

LAMBDA = 0.97
SEED_DAYS = 60  # whose mean square the volatility starts from
WINDOW = 500  # days: 12.5 of them in the tail
WINDOW_MIN = 250  # 6.25 days in the tail; the ES of fewer is off by a fifth and more
FALL_MAX = 0.45  # a split of 2:1 looks like a fall by half
RISE_MAX = 0.80  # a reverse split of 1:2 looks like a rise by 100 %
STILL_MAX = 20  # days in a row without any move: a halted or a dead series, whose risk it does not show
PROXIED_MAX = 0.5  # of a symbol's days; its own volatility must be seen on the others

Jump = tuple[str, dt.date]


def jump(text: str) -> Jump:
    """SYMBOL@YYYY-MM-DD, a return beyond the bounds that really happened; raises ValueError."""
    symbol, at, date = text.rpartition("@")
    try:
        return (symbol if at else date), dt.date.fromisoformat(date)
    except ValueError:
        raise ValueError(f"{text}: say SYMBOL@DATE, like ABC@2008-07-03") from None


class Proxy(msgspec.Struct, frozen=True):
    """Days of a symbol that were not known and were filled: by the mean of `sector`, times `scale`."""

    symbol: str
    days: int
    sector: str
    scale: float


class ScenarioModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate judges by until the next one comes. Arrays are read-only, (n, S) with the newest day last."""

    date: dt.date  # of the newest scenario
    version: str  # a name for exactly these numbers
    symbols: tuple[str, ...]
    plain: Matrix
    filtered: Matrix
    correlation: Matrix  # (n, n), shrunk
    shrinkage: float  # towards the mean correlation: 0 as observed, 1 all alike
    proxies: tuple[Proxy, ...]


def build(
    returns: Returns,
    *,
    window: int = WINDOW,
    decay: float = LAMBDA,
    sectors: Mapping[str, str] | None = None,
    allowed: frozenset[Jump] = frozenset(),
) -> ScenarioModel:
    """The model as of the last day of `returns`; raises ScenarioError. `sectors` and `allowed` as in `sound`."""
    if window < WINDOW_MIN:
        raise ScenarioError(f"a window of {window} days is too short for a tail: {WINDOW_MIN} are the least")
    if len(returns.dates) < window:
        raise ScenarioError(f"{len(returns.dates)} days of returns are too short a history: {window} are needed")
    filled, proxies = sound(returns, sectors=sectors, allowed=allowed)
    values, volatility = filled.values, ewma_volatility(filled.values, decay)
    plain = _frozen(values[-window:].T)
    correlation, shrinkage = shrunk_correlation(plain)
    filtered = _frozen(standardised(values, volatility)[-window:].T * volatility[-1][:, None])
    return ScenarioModel(
        date=filled.dates[-1],
        version=_version(filled, plain, filtered),
        symbols=filled.symbols,
        plain=plain,
        filtered=filtered,
        correlation=_frozen(correlation),
        shrinkage=shrinkage,
        proxies=proxies,
    )


# What is refused, and what is filled ----------------------------------------------------------------------------------


def sound(
    returns: Returns, *, sectors: Mapping[str, str] | None = None, allowed: frozenset[Jump] = frozenset()
) -> tuple[Returns, tuple[Proxy, ...]]:
    """The returns without gaps, and how the gaps were filled; raises ScenarioError.

    `sectors` maps symbols to sectors; without it a gap is refused. `allowed` are returns beyond the bounds that really
    happened.
    """
    dates, symbols, values = returns.dates, returns.symbols, returns.values
    if values.shape != (len(dates), len(symbols)):
        raise ValueError(f"{len(dates)} dates of {len(symbols)} symbols do not make an array of shape {values.shape}")
    for before, date in pairwise(dates):
        if date <= before:
            raise ScenarioError(f"{date} comes after {before}: days must be in order, each once")
    if len(set(symbols)) != len(symbols):
        twice = next(symbol for symbol in symbols if symbols.count(symbol) > 1)
        raise ScenarioError(f"{twice} is there more than once")
    _refuse_jumps(returns, allowed)
    filled, proxies = _filled(returns, sectors or {})
    _refuse_still(filled)
    return filled, proxies


def _refuse_jumps(returns: Returns, allowed: frozenset[Jump]) -> None:
    values = returns.values
    for day, column in np.argwhere((values <= -FALL_MAX) | (values >= RISE_MAX)).tolist():
        symbol, date, value = returns.symbols[column], returns.dates[day], values[day, column]
        if value < -1.0 or np.isinf(value):
            raise ScenarioError(f"{symbol} on {date}: {value} is no simple return, which is a fraction above -1")
        if (symbol, date) not in allowed:
            raise ScenarioError(
                f"{symbol} on {date}: {value:+.1%} looks like a split or an error; correct it, or allow {symbol}@{date}"
            )


def _refuse_still(returns: Returns) -> None:
    run = np.zeros(len(returns.symbols), dtype=np.int64)
    for date, row in zip(returns.dates, returns.values, strict=True):
        run = np.where(row == 0.0, run + 1, 0)
        if run.max(initial=0) > STILL_MAX:
            symbol = returns.symbols[int(run.argmax())]
            raise ScenarioError(
                f"{symbol} has not moved for {run.max()} days up to {date}: a halted or dead series hides its risk, "
                "leave it out or mark these days as missing"
            )


def _filled(returns: Returns, sectors: Mapping[str, str]) -> tuple[Returns, tuple[Proxy, ...]]:
    known = ~np.isnan(returns.values)
    gaps = np.flatnonzero(~known.all(axis=0)).tolist()
    if not gaps:
        return returns, ()
    values = returns.values.copy()
    proxies = tuple(_fill(returns, values, known, column, sectors) for column in gaps)
    return Returns(returns.dates, returns.symbols, values), proxies


def _fill(returns: Returns, values: Matrix, known: NDArray[np.bool_], column: int, sectors: Mapping[str, str]) -> Proxy:
    """Fill a symbol's gaps in `values`: its sector's mean on that day, as large as its own days are beside it."""
    symbol, missing = returns.symbols[column], ~known[:, column]
    first = returns.dates[int(missing.argmax())]
    what = f"{symbol} has no return on {missing.sum()} of {len(missing)} days, first on {first}"
    sector = sectors.get(symbol)
    if sector is None:
        raise ScenarioError(f"{what}: complete it, leave it out, or name its sector, whose mean would stand in")
    if missing.mean() > PROXIED_MAX:
        raise ScenarioError(f"{what}: too many for a proxy, which may stand for {PROXIED_MAX:.0%} of them")
    peers = [i for i, other in enumerate(returns.symbols) if i != column and sectors.get(other) == sector]
    counts = known[:, peers].sum(axis=1)
    alone = np.flatnonzero(missing & (counts == 0))
    if len(alone):
        raise ScenarioError(f"{what}: no other symbol of {sector} has one on {returns.dates[int(alone[0])]} either")
    mean = np.where(known[:, peers], returns.values[:, peers], 0.0).sum(axis=1) / np.maximum(counts, 1)
    both = ~missing & (counts > 0)
    scale = 1.0  # a mean of many moves less than each of them
    if (spread := float(mean[both].std()) if both.any() else 0.0) > 0.0:
        scale = max(1.0, float(returns.values[both, column].std()) / spread)
    values[missing, column] = scale * mean[missing]
    return Proxy(symbol, int(missing.sum()), sector, scale)


# Volatility and correlation -------------------------------------------------------------------------------------------


def ewma_volatility(values: Matrix, decay: float = LAMBDA) -> Matrix:
    """Volatility of each day as known the evening before, (T + 1, n); the last row is tomorrow's. `values` (T, n).

    var_t+1 = decay var_t + (1 - decay) r_t^2, begun with the mean square of the first `SEED_DAYS`.
    """
    if not 0.0 < decay < 1.0:
        raise ValueError(f"the decay of exponential weights lies between 0 and 1, not at {decay}")
    variance = np.empty((len(values) + 1, *values.shape[1:]))
    variance[0] = (values[:SEED_DAYS] ** 2).mean(axis=0)
    for day, squares in enumerate(values**2):
        variance[day + 1] = decay * variance[day] + (1.0 - decay) * squares
    return np.sqrt(variance)


def standardised(values: Matrix, volatility: Matrix) -> Matrix:
    """Returns in units of their day's volatility, (T, n); 0 where nothing ever moved."""
    day = volatility[:-1]
    return np.divide(values, day, out=np.zeros_like(values), where=day > 0.0)


def shrunk_correlation(scenarios: Matrix) -> tuple[Matrix, float]:
    """Correlations of rows (n, S), shrunk towards their mean, and by how much.

    The intensity is the one of least expected error, sum of var(r_ij) / sum of (r_ij - mean)^2 over all pairs (Ledoit
    and Wolf 2004 in the form of Schaefer and Strimmer 2005), where the target's own error is neglected.
    """
    symbols, days = scenarios.shape
    centred = scenarios - scenarios.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    z = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0.0)
    observed = z @ z.T / days
    pairs = ~np.eye(symbols, dtype=bool)
    mean = float(observed[pairs].mean()) if symbols > 1 else 0.0
    error = float((z**2 @ (z**2).T / days - observed**2)[pairs].sum()) / (days - 1)
    apart = float(((observed - mean) ** 2)[pairs].sum())
    shrinkage = min(1.0, max(0.0, error / apart)) if apart > 0.0 else 1.0
    shrunk = (1.0 - shrinkage) * observed + shrinkage * mean
    np.fill_diagonal(shrunk, 1.0)
    return shrunk, shrinkage


def _frozen(values: Matrix) -> Matrix:
    kept: Matrix = np.array(values, dtype=np.float64, order="C")
    kept.flags.writeable = False
    return kept


def _version(returns: Returns, *matrices: Vector) -> str:
    digest = hashlib.sha256(msgspec.json.encode([returns.dates[-1], returns.symbols]))
    for matrix in matrices:
        digest.update(matrix.tobytes())
    return digest.hexdigest()[:12]
