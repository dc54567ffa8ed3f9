"""Whether the market is calm, volatile or in a crisis: what a day says, and how long it is remembered.

No thresholds are standard; these are ours, chosen on US stocks of 2007-2016 and the S&P 500 of 1999-2018, and stated.
Two measures speak, both of days that are over:

- the *percentile* of today's EWMA volatility of the equally weighted market among those of the last four years. Of a
  market that never changes one day in five would be above the bound: a percentile compares, it does not measure;
- *turbulence* (Kritzman and Li 2010): how unusual the day's returns are together, (y - mu)' C^-1 (y - mu) / n in units
  of the last two years, where 1 is usual, averaged over some ten days. C has one correlation for all pairs, their mean:
  with hundreds of symbols and hundreds of days any finer one would be made of noise.

The regime is the worst that any of the last `QUIET_DAYS` days said: it escalates at once and comes back slowly. Data
that stops escalates, too. A person may set the regime by hand, and takes it back by hand.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from enum import IntEnum

import msgspec
import numpy as np

from core.returns import Returns
from risk.scenarios import ewma_volatility
from risk.shortfall import Matrix, ScenarioError, Vector

DECAY = 0.94  # of the volatility
CALM = 0.9  # of the turbulence
HISTORY = 1_000  # days that a volatility is compared with
REFERENCE = 500  # days that a turbulent one is compared with
HISTORY_MIN = 250  # days, the first reading's own among them

VOLATILE_PERCENTILE = 0.80
VOLATILE_TURBULENCE = 2.0
CRISIS_PERCENTILE = 0.95  # together with VOLATILE_TURBULENCE
CRISIS_TURBULENCE = 4.0  # alone

QUIET_DAYS = 10  # trading days
STALE_DAYS = 5  # calendar days without data: a long weekend is no reason
LOST_DAYS = 10  # calendar days


class Regime(IntEnum):
    """The state of the market, from the calmest."""

    NORMAL = 0
    VOLATILE = 1
    CRISIS = 2

    @property
    def multiplier(self) -> float:
        """Of the limit on plain historical ES."""
        return (1.0, 0.8, 0.6)[self]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one day says, known at its end. `volatility` is daily; `turbulence` is 1 on a usual day."""

    date: dt.date
    volatility: float
    percentile: float
    turbulence: float

    @property
    def regime(self) -> Regime:
        """The regime by this day alone."""
        stormy = self.turbulence >= VOLATILE_TURBULENCE
        if self.turbulence >= CRISIS_TURBULENCE or (stormy and self.percentile >= CRISIS_PERCENTILE):
            return Regime.CRISIS
        return Regime.VOLATILE if stormy or self.percentile >= VOLATILE_PERCENTILE else Regime.NORMAL


class RegimeState(msgspec.Struct, frozen=True):
    """What is remembered: what the last days said, oldest first, and what a person set."""

    date: dt.date | None = None
    recent: tuple[Regime, ...] = ()
    override: Regime | None = None

    def after(self, reading: Reading) -> "RegimeState":
        """The state one day later; a day that came before raises ValueError."""
        if self.date is not None and reading.date <= self.date:
            raise ValueError(f"a reading of {reading.date} comes after that of {self.date}")
        return RegimeState(reading.date, (*self.recent, reading.regime)[-QUIET_DAYS:], self.override)

    def overridden(self, by: Regime | None) -> "RegimeState":
        """The state with a regime set by hand; None leaves it to the data again."""
        return RegimeState(self.date, self.recent, by)

    def on(self, today: dt.date) -> Regime:
        """The regime that holds today, worse where the data is old; without any it is a crisis."""
        if self.override is not None:
            return self.override
        age = (today - self.date).days if self.date is not None else LOST_DAYS + 1
        stale = Regime.CRISIS if age > LOST_DAYS else Regime.VOLATILE if age > STALE_DAYS else Regime.NORMAL
        return max(stale, *self.recent, Regime.NORMAL)


def fold(readings: Iterable[Reading]) -> RegimeState:
    """The state after all readings, in order."""
    state = RegimeState()
    for reading in readings:
        state = state.after(reading)
    return state


def read(returns: Returns) -> Iterator[Reading]:
    """A reading of each day from the `HISTORY_MIN`th on, by it and the days before; `returns` have no gaps.

    Raises ScenarioError where the history is too short.
    """
    days = len(returns.dates)
    if days < HISTORY_MIN:
        raise ScenarioError(f"{days} days of returns are too short for a regime: {HISTORY_MIN} are needed")
    volatility = ewma_volatility(returns.values.mean(axis=1), DECAY)[1:]
    turbulence = 1.0
    for day in range(HISTORY_MIN - 1, days):
        unusual = _turbulence(returns.values[max(0, day - REFERENCE) : day], returns.values[day])
        turbulence = CALM * turbulence + (1.0 - CALM) * unusual
        past = volatility[max(0, day + 1 - HISTORY) : day + 1]
        yield Reading(
            date=returns.dates[day],
            volatility=float(volatility[day]),
            percentile=float((past <= volatility[day]).mean()),
            turbulence=turbulence,
        )


def _turbulence(reference: Matrix, today: Vector) -> float:
    """Squared distance of a day from what is usual, per symbol: C = (1 - rho) I + rho 1 1' is inverted by hand."""
    mean, spread = reference.mean(axis=0), reference.std(axis=0)
    moves = spread > 0.0
    if not moves.any():
        return 0.0 if np.array_equal(today, mean) else CRISIS_TURBULENCE
    n = int(moves.sum())
    unit = 1.0 / spread[moves]
    z = (today[moves] - mean[moves]) * unit
    # the variance of the mean of n standardised returns is (1 + (n - 1) rho) / n
    together = float((reference[:, moves] @ unit).var()) / n
    rho = min(max((together - 1.0) / (n - 1), 0.0), 0.99) if n > 1 else 0.0
    common = rho / (1.0 + (n - 1) * rho) * float(z.sum()) ** 2
    return (float(z @ z) - common) / (1.0 - rho) / n
