"""Optimal liquidation: schedules that weigh what haste costs against what waiting risks, as formulas of their papers.

Everything is a fraction of the quantity or money, in float64, and pure. Three models of what trading does to the price:

- Almgren and Chriss (2000): impact linear in the rate. The holdings decay like a hyperbolic sine; its steepness `kappa`
  is what a risk aversion, or an urgency, comes down to.
- Almgren (2003): temporary impact that grows with a power of the rate, and no end but a characteristic time.
- Obizhaeva and Wang (2013): a book that refills at a rate; a block at either end and an even rate between them.

Of the three IS is worked by the first; nobody has measured what the others need, and they are here to compare with.

Units: time in one unit throughout (days in the papers), volatility in money per share and square root of time,
`temporary` (eta) in money per share for each share per unit of time, `permanent` (gamma) in money per share for each
share, `fixed` (epsilon) in money per share, risk aversion (lambda) in 1 / money. Costs are positive when they hurt.
"""

import math

import msgspec
import numpy as np

from algos.trajectory import Vector

EVEN = 1e-9  # kappa times the horizon, from which on down the sinh is a straight line in float64


class LinearImpact(msgspec.Struct, frozen=True, kw_only=True):
    """What trading costs in Almgren and Chriss; `volatility` is what waiting risks."""

    volatility: float
    temporary: float
    permanent: float = 0.0
    fixed: float = 0.0

    def __post_init__(self) -> None:
        for name in ("volatility", "temporary", "permanent", "fixed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} = {value}: zero or more belongs here")

    def kappa(self, risk_aversion: float, tau: float) -> float:
        """How steeply holdings decay over intervals of `tau`; raises ValueError where permanent impact outweighs."""
        own = self.temporary - self.permanent * tau / 2
        if own <= 0.0:
            raise ValueError(f"temporary impact {self.temporary} is no more than permanent impact x {tau} / 2")
        squared = risk_aversion * self.volatility**2 / own
        return math.acosh(squared * tau**2 / 2 + 1) / tau

    def expected_cost(self, holdings: Vector, tau: float) -> float:
        """Of selling down `holdings` (N + 1,), in shares, the last one zero, over intervals of `tau`."""
        sold = -np.diff(holdings)
        own = self.temporary - self.permanent * tau / 2
        permanent = self.permanent * float(holdings[0]) ** 2 / 2
        return permanent + self.fixed * float(np.abs(sold).sum()) + own / tau * float(sold @ sold)

    def variance(self, holdings: Vector, tau: float) -> float:
        """Of that cost."""
        held = holdings[1:]
        return self.volatility**2 * tau * float(held @ held)


def remaining(kappa: float, horizon: float, times: Vector) -> Vector:
    """The part that is still to be done at `times` in [0, horizon]: sinh(kappa (T - t)) / sinh(kappa T).

    Written with exponentials that cannot overflow, however large kappa T is; zero gives the straight line.
    """
    left = horizon - times
    if kappa * horizon <= EVEN:
        return left / horizon
    decay: Vector = np.exp(-kappa * times) * np.expm1(-2 * kappa * left) / math.expm1(-2 * kappa * horizon)
    return decay


def times_of(kappa: float, horizon: float, parts: Vector) -> Vector:
    """When only `parts` in (0, 1] are still to be done: `remaining` the other way round, without overflow as there."""
    if kappa * horizon <= EVEN:
        return (1.0 - parts) * horizon
    gone, half = math.exp(-2 * kappa * horizon), -math.expm1(-2 * kappa * horizon) / 2 * parts
    times: Vector = -np.log(half + np.sqrt(half * half + gone)) / kappa
    return times


class PowerImpact(msgspec.Struct, frozen=True, kw_only=True):
    """Temporary impact `temporary` x rate ** `exponent`, nothing permanent, no horizon (Almgren 2003)."""

    volatility: float
    temporary: float
    exponent: float

    def __post_init__(self) -> None:
        for name in ("volatility", "temporary", "exponent"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"{name} = {value}: a positive number belongs here")

    def characteristic_time(self, shares: float, risk_aversion: float) -> float:
        """How long the greater part of so many shares takes, in the unit of time."""
        k = self.exponent
        return float((k * self.temporary * shares ** (k - 1) / (risk_aversion * self.volatility**2)) ** (1 / (k + 1)))

    def remaining(self, time: float, characteristic: float) -> float:
        """The part that is still to be done at `time`; above an exponent of one it reaches zero, below never."""
        k, t = self.exponent, time / characteristic
        if k == 1.0:
            return math.exp(-t)
        base = 1 + (1 - k) / (1 + k) * t
        return float(base ** (-(1 + k) / (1 - k))) if base > 0.0 else 0.0

    def expected_cost(self, shares: float, characteristic: float) -> float:
        """Of selling so many shares, money."""
        k = self.exponent
        return float((k + 1) / (3 * k + 1) * self.temporary * shares ** (k + 1) / characteristic**k)

    def variance(self, shares: float, characteristic: float) -> float:
        """Of that cost, money squared."""
        k = self.exponent
        return (k + 1) / (3 * k + 1) * self.volatility**2 * shares**2 * characteristic


def resilient(resilience: float, tau: float, trades: int) -> Vector:
    """The parts (trades,) that cost least in a book that refills at a rate, traded every `tau`; they add up to one.

    Obizhaeva and Wang as Alfonsi, Fruth and Schied (2010) have it: equal blocks at both ends, less between them.
    """
    if not (math.isfinite(resilience * tau) and resilience > 0.0 and tau > 0.0):
        raise ValueError(f"resilience {resilience} over intervals of {tau}: positive numbers belong here")
    if trades < 2:  # noqa: PLR2004 - a beginning and an end
        return np.ones(trades)
    refilled = -math.expm1(-resilience * tau)
    parts = np.full(trades, refilled)
    parts[[0, -1]] = 1.0
    return parts / ((trades - 2) * refilled + 2)
